import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import t from 'tap'
import type { Test } from 'tap'
import { createAuthority, signLeaf } from '../../src/certificates/authority.ts'
import type { KeyPair } from '../../src/certificates/authority.ts'
import { createFileCertificates } from '../../src/certificates/files.ts'
import { recordingLogger } from '../admission/server-of.ts'
import { eventually } from '../cluster/api.ts'

const validity = { notBefore: new Date(Date.UTC(2026, 0, 1)), notAfter: new Date(Date.UTC(2026, 3, 1)) }
const authority = await createAuthority(validity)
const [first, second] = await Promise.all(
  [1, 2].map(() => signLeaf({ authority, dnsNames: ['localhost'], ...validity })),
)
if (!first || !second) throw new Error('two leaves were to be signed')

const write = (dir: string, { cert, key }: Pick<KeyPair, 'cert' | 'key'>) =>
  Promise.all([writeFile(join(dir, 'tls.key'), key), writeFile(join(dir, 'tls.crt'), cert)])

/** The certificates of a folder, looked at every millisecond. */
async function following(t: Test, now = validity.notBefore) {
  const dir = t.testdir({ 'tls.crt': first?.cert ?? '', 'tls.key': first?.key ?? '' })
  const registry = new Registry()
  const { logger, lines } = recordingLogger()
  const told: string[] = []
  const stop = new AbortController()
  t.teardown(() => stop.abort())
  const files = createFileCertificates({ dir, logger, registry, now: () => now, pollMs: 1 })
  t.equal(files.hasValidLeaf(), false, 'nothing is known before the start')
  const start = () => files.start(({ cert }) => void told.push(cert), stop.signal)
  return { dir, registry, lines, told, files, start }
}

t.test('a renewed pair is told of, once', async t => {
  const { dir, told, start, registry } = await following(t)
  t.equal((await start()).cert, first.cert)
  await write(dir, second)
  await eventually(async () => told.length, { until: count => count > 0, what: 'the new pair to be told of' })
  t.strictSame(told, [second.cert])
  const expiry = validity.notAfter.getTime() / 1000
  t.match(
    await registry.metrics(),
    `lifeguard_certificate_expiry_timestamp_seconds{certificate="leaf"} ${expiry}`,
  )
})

t.test('half of a renewal, or a folder that is gone, leaves the last good pair', async t => {
  const { dir, told, start, lines, files } = await following(t)
  await start()
  const until = (what: string) =>
    eventually(async () => lines.some(line => JSON.stringify(line).includes(what)), { until: Boolean, what })
  await writeFile(join(dir, 'tls.crt'), second.cert)
  await until('no certificate and its key')
  await rm(join(dir, 'tls.key'))
  await until('ENOENT')
  t.strictSame(told, [])
  t.equal(files.hasValidLeaf(), true)
})

t.test('an ended certificate is not valid', async t => {
  const { start, files } = await following(t, validity.notAfter)
  await start()
  t.equal(files.hasValidLeaf(), false)
})

t.test('without a good pair there is no start', async t => {
  const { logger } = recordingLogger()
  const empty = createFileCertificates({ dir: t.testdir({}), logger })
  await t.rejects(
    empty.start(() => undefined, new AbortController().signal),
    { code: 'ENOENT' },
  )
})
