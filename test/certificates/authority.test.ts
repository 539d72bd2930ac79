import { X509Certificate } from 'node:crypto'
import t from 'tap'
import { createAuthority, isValidAt, readKeyPair, signLeaf } from '../../src/certificates/authority.ts'

const day = (days: number): Date => new Date(Date.UTC(2026, 0, 1 + days))
const validity = { notBefore: day(0), notAfter: day(90) }
const [authority, stranger] = await Promise.all([createAuthority(validity), createAuthority(validity)])
const dnsNames = ['prefect-lifeguard.prefect-lifeguard.svc', 'localhost']
const leaf = await signLeaf({
  authority,
  dnsNames,
  ipAddresses: ['127.0.0.1'],
  notBefore: day(1),
  notAfter: day(8),
})

t.test('an authority signs, and may sign no other authority', async t => {
  const certificate = new X509Certificate(authority.cert)
  t.ok(certificate.ca)
  t.ok(certificate.verify(certificate.publicKey))
  t.match(certificate.subject, /^CN=prefect-lifeguard webhook CA 2026-01-01/)
  t.strictSame({ ...validity }, { notBefore: authority.notBefore, notAfter: authority.notAfter })
  t.not(certificate.serialNumber, new X509Certificate(stranger.cert).serialNumber)
})

t.test('a leaf is for its names alone, for servers alone, by its authority alone', async t => {
  const certificate = new X509Certificate(leaf.cert)
  t.notOk(certificate.ca)
  t.ok(certificate.checkIssued(new X509Certificate(authority.cert)))
  t.ok(certificate.verify(new X509Certificate(authority.cert).publicKey))
  t.notOk(certificate.verify(new X509Certificate(stranger.cert).publicKey))
  t.equal(certificate.checkHost('localhost'), 'localhost')
  t.equal(certificate.checkHost('kubernetes.default.svc'), undefined)
  t.equal(certificate.checkIP('127.0.0.1'), '127.0.0.1')
  t.strictSame(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1'], 'serverAuth')
  t.strictSame([leaf.notBefore, leaf.notAfter], [day(1), day(8)])
})

t.test('a leaf never outlives its authority', async t => {
  const late = await signLeaf({ authority, dnsNames, notBefore: day(88), notAfter: day(95) })
  t.strictSame(late.notAfter, day(90))
})

t.test('a pair is read only when both parts are sound and belong together', async t => {
  t.strictSame(readKeyPair(leaf.cert, leaf.key), leaf)
  t.equal(readKeyPair(leaf.cert, authority.key), undefined, 'another key')
  t.equal(readKeyPair('', leaf.key), undefined, 'no certificate')
  t.equal(readKeyPair(leaf.cert, leaf.key.slice(0, 80)), undefined, 'half a key')
})

t.test('good from its first moment to before its last', async t => {
  t.strictSame(
    [day(-1), day(0), day(89), day(90)].map(now => isValidAt(validity, now)),
    [false, true, true, false],
  )
})
