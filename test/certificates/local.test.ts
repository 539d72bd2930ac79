import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { X509Certificate } from 'node:crypto'
import { createLocalCertificates } from '../../src/certificates/local.ts'

const day = (days: number) => () => new Date(Date.UTC(2026, 0, 1 + days))
const dirOf = (t: Test): string => join(t.testdir(), 'certs')

t.test('a pair is made for this machine, with keys nobody else can read', async t => {
  const dir = dirOf(t)
  const made = await createLocalCertificates(dir)
  const certificate = new X509Certificate(made.cert)
  t.ok(certificate.checkHost('localhost'))
  t.ok(certificate.checkIP('127.0.0.1'))
  t.ok(certificate.verify(new X509Certificate(made.caCertificate).publicKey))
  t.equal(Buffer.from(made.caBundle, 'base64').toString(), made.caCertificate)
  t.strictSame(
    (await readdir(dir)).toSorted(),
    ['ca.crt', 'ca.key', 'tls.crt', 'tls.key'],
    'no drafts are left',
  )
  for (const key of ['ca.key', 'tls.key']) t.equal((await stat(join(dir, key))).mode & 0o777, 0o600, key)
})

t.test('it is used again while it is good', async t => {
  const dir = dirOf(t)
  const made = await createLocalCertificates(dir, { now: day(0) })
  t.strictSame(await createLocalCertificates(dir, { now: day(59) }), made)
})

t.test('a leaf with a third of life left is signed again by the same authority', async t => {
  const dir = dirOf(t)
  const made = await createLocalCertificates(dir, { now: day(0) })
  const later = await createLocalCertificates(dir, { now: day(61) })
  t.not(later.cert, made.cert)
  t.equal(later.caCertificate, made.caCertificate)
})

t.test('an old authority is replaced, and its leaf with it', async t => {
  const dir = dirOf(t)
  const made = await createLocalCertificates(dir, { now: day(0) })
  const later = await createLocalCertificates(dir, { now: day(300) })
  t.not(later.caCertificate, made.caCertificate)
  t.ok(new X509Certificate(later.cert).verify(new X509Certificate(later.caCertificate).publicKey))
})

t.test('a lost authority takes its leaf with it', async t => {
  const dir = dirOf(t)
  const made = await createLocalCertificates(dir)
  await rm(join(dir, 'ca.key'))
  const again = await createLocalCertificates(dir)
  t.not(again.caCertificate, made.caCertificate)
  t.ok(new X509Certificate(again.cert).verify(new X509Certificate(again.caCertificate).publicKey))
})

t.test('another name needs another leaf', async t => {
  const dir = dirOf(t)
  await createLocalCertificates(dir)
  const made = await createLocalCertificates(dir, {
    dnsNames: ['host.docker.internal'],
    ipAddresses: ['192.0.2.7'],
  })
  t.ok(new X509Certificate(made.cert).checkHost('host.docker.internal'))
  t.ok(new X509Certificate(made.cert).checkIP('192.0.2.7'))
})

const damages: Record<string, (dir: string) => Promise<void>> = {
  'a file that is no certificate': dir => writeFile(join(dir, 'tls.crt'), 'not PEM'),
  'a key of another certificate': async dir =>
    writeFile(join(dir, 'tls.key'), await readFile(join(dir, 'ca.key'))),
}

for (const [name, damage] of Object.entries(damages)) {
  t.test(`made again: ${name}`, async t => {
    const dir = dirOf(t)
    const made = await createLocalCertificates(dir)
    await damage(dir)
    const again = await createLocalCertificates(dir)
    t.not(again.cert, made.cert)
    t.equal(again.caCertificate, made.caCertificate)
  })
}

t.test('a file that cannot be read is named', async t => {
  const dir = dirOf(t)
  await mkdir(join(dir, 'ca.crt'), { recursive: true })
  await chmod(dir, 0o700)
  await t.rejects(createLocalCertificates(dir), { message: /ca\.crt.*remove it/ })
})
