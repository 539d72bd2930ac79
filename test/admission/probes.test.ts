import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { createServer as createTcpServer } from 'node:net'
import { createServer } from 'node:tls'
import type { AddressInfo, Server } from 'node:net'
import { once } from 'node:events'
import { Registry } from 'prom-client'
import t from 'tap'
import type { Test } from 'tap'
import { createProbes } from '../../src/admission/probes.ts'
import type { Attempt } from '../../src/admission/probes.ts'
import { createTlsAttempt } from '../../src/admission/tls-attempt.ts'
import { certificates, DNS_NAME } from './on-cluster.ts'
import { recordingLogger } from './server-of.ts'

const { signal } = new AbortController()

const now = () => new Date(Date.UTC(2026, 0, 1))

function probesOf(attempts: Record<string, Attempt>, everyMs = 1) {
  const registry = new Registry()
  const { logger, lines } = recordingLogger()
  return {
    probes: createProbes({ attempts, everyMs, deadlineMs: 20, now, logger, registry }),
    registry,
    lines,
  }
}

t.test('what a probe finds is status and metric, and a log line when it changes', async t => {
  let trouble: unknown
  const tls: Attempt = () => (trouble === undefined ? Promise.resolve() : Promise.reject(trouble))
  const { probes, registry, lines } = probesOf({ tls })
  t.strictSame(probes.status('tls'), { ok: false, detail: 'not tried yet' })
  await probes.check(signal)
  t.equal(probes.status('tls').ok, true)
  trouble = new Error('connect ECONNREFUSED')
  await probes.check(signal)
  await probes.check(signal)
  t.strictSame(probes.status('tls'), { ok: false, detail: 'connect ECONNREFUSED' })
  const text = await registry.metrics()
  t.match(text, 'lifeguard_probe_success{probe="tls"} 0')
  t.match(text, `lifeguard_probe_last_success_timestamp_seconds{probe="tls"} ${Date.UTC(2026, 0, 1) / 1000}`)
  trouble = undefined
  await probes.check(signal)
  t.strictSame(
    lines.map(line => line['level']),
    [30, 40, 30],
  )
  trouble = 'not even an error'
  await probes.check(signal)
  t.strictSame(probes.status('tls'), { ok: false, detail: 'not even an error' })
})

const hangs: Attempt = signal => sleep(60_000, undefined, { signal })

t.test('an attempt that hangs has failed', async t => {
  const { probes } = probesOf({ hangs, fine: async () => undefined })
  await probes.check(signal)
  t.match(probes.status('hangs'), { ok: false, detail: /aborted/ })
  t.equal(probes.status('fine').ok, true)
})

t.test('probing goes on until it is told to stop, and stopping is no failure', async t => {
  const stop = new AbortController()
  const thrice = Promise.withResolvers<void>()
  let attempts = 0
  const { probes } = probesOf({
    tls: async signal => {
      attempts += 1
      if (attempts < 3) return
      thrice.resolve()
      await once(signal, 'abort')
      throw new Error('stopped')
    },
  })
  const probing = probes.start(stop.signal)
  await thrice.promise
  stop.abort()
  await probing
  await setImmediate()
  t.equal(attempts, 3)
  t.equal(probes.status('tls').ok, true)
})

async function attemptOn(
  t: Test,
  server: Server,
  { servername = DNS_NAME, now = new Date() } = {},
): Promise<void> {
  server.listen({ host: '127.0.0.1', port: 0 })
  await once(server, 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  return createTlsAttempt({ host: '127.0.0.1', port, servername, now: () => now })(AbortSignal.timeout(200))
}

t.test('the TLS probe', async t => {
  const { leaf } = await certificates()
  const { cert, key } = leaf
  await t.resolves(attemptOn(t, createServer({ cert, key })), 'is content with our certificate')
  await t.rejects(attemptOn(t, createServer({ cert, key }), { servername: 'other.svc' }), {
    message: /does not name other.svc/,
  })
  await t.rejects(attemptOn(t, createServer({ cert, key }), { now: leaf.notAfter }), { message: /ended on/ })
  await t.rejects(attemptOn(t, createServer()), 'no certificate')
  await t.rejects(attemptOn(t, createTcpServer()), { name: 'AbortError' }, 'a port where nobody speaks TLS')
})
