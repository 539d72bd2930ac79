import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { Agent } from 'undici'
import pino from 'pino'
import { Registry } from 'prom-client'
import { parseAllDocuments } from 'yaml'
import { createAdmissionServer } from '../../../src/admission/server.ts'
import { certificates } from '../on-cluster.ts'
import { reviewOf, subflow } from '../server-of.ts'
const kind = process.argv[2]
if (kind) {
  const { leaf } = await certificates()
  let port: number
  if (kind === 'ours') {
    const s = createAdmissionServer({ tls: leaf, parentOf: subflow, validation: 'warn', lookupDeadlineMs: 900, maxConcurrent: 256, logger: pino({ level: process.argv[3] ?? 'info' }, pino.destination({ dest: '/dev/null', sync: false })), registry: new Registry() })
    await s.listen({ host: '127.0.0.1', port: 0 }); port = (s.server.address() as any).port
  } else {
    const s = createServer({ key: leaf.key, cert: leaf.cert, keepAliveTimeout: 120000 }, (req, res) => {
      const chunks: Buffer[] = []
      req.on('data', c => chunks.push(c)); req.on('end', () => {
        const review = JSON.parse(Buffer.concat(chunks).toString())
        const patch = [{ op: 'add', path: '/metadata/labels/prefect.io~1parent-task-run-id', value: 'x' }]
        const body = JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid: review.request.uid, allowed: true, patchType: 'JSONPatch', patch: Buffer.from(JSON.stringify(patch)).toString('base64') } })
        res.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }); res.end(body)
      })
    })
    s.listen(0, '127.0.0.1'); await once(s, 'listening'); port = (s.address() as any).port
  }
  let before = process.cpuUsage()
  process.on('message', m => { if (m === 'start') before = process.cpuUsage(); else process.send!({ cpu: process.cpuUsage(before) }) })
  process.send!({ port })
} else {
  const object = parseAllDocuments(readFileSync(new URL('../cases/recorded-pod-of-a-prefect-worker.yaml', import.meta.url), 'utf8'))[0]!.toJS()
  const body = JSON.stringify(reviewOf(object))
  console.log('bytes', body.length)
  for (const [k, level] of [['bare'], ['ours', 'info'], ['ours', 'silent'], ['bare'], ['ours', 'info']] as [string, string?][]) {
    const child = fork(new URL(import.meta.url), level ? [k, level] : [k])
    const [{ port }] = await once(child, 'message') as any
    const agent = new Agent({ connect: { rejectUnauthorized: false }, connections: 8 })
    const run = async (n: number) => { let left = n; await Promise.all(Array.from({ length: 16 }, async () => { while (left-- > 0) { const r = await agent.request({ origin: `https://127.0.0.1:${port}`, path: '/mutate', method: 'POST', body, headers: { 'content-type': 'application/json' } }); await r.body.text() } })) }
    await run(3000); child.send('start'); const t = performance.now(); await run(10000); const ms = performance.now() - t
    child.send('stop'); const [{ cpu }] = await once(child, 'message') as any
    console.log(k, level ?? '', 'cpu us/req', ((cpu.user + cpu.system) / 10000).toFixed(1), 'req/s', (10000 / ms * 1000).toFixed(0))
    child.kill(); await agent.destroy()
  }
}
