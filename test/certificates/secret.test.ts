import t from 'tap'
import { createAuthority } from '../../src/certificates/authority.ts'
import { parseSecret, secretOf } from '../../src/certificates/secret.ts'

const validity = { notBefore: new Date(Date.UTC(2026, 0, 1)), notAfter: new Date(Date.UTC(2027, 0, 1)) }
const [current, next, old] = await Promise.all([1, 2, 3].map(() => createAuthority(validity)))
if (!current || !next || !old) throw new Error('three authorities were to be made')

const metadata = {
  namespace: 'prefect-lifeguard',
  name: 'ca',
  resourceVersion: '7',
  labels: { a: 'b' },
  annotations: {},
}
const shell = { metadata, type: 'Opaque' }

t.test('what was written is read again', async t => {
  for (const authorities of [
    { current, previous: [] },
    { current, next, previous: [old.cert.trim(), next.cert.trim()] },
  ]) {
    t.strictSame(parseSecret(secretOf(authorities, shell)), { ...shell, authorities })
  }
})

const base64 = (text: string) => Buffer.from(text).toString('base64')

t.test('a damaged part counts for nothing, the rest stands', async t => {
  const { data, ...secret } = secretOf({ current, next, previous: [old.cert.trim()] }, shell)
  const read = (changes: object) => parseSecret({ ...secret, data: { ...data, ...changes } }).authorities
  t.equal(read({ 'ca.key': base64(next.key) }), undefined, 'a key of another authority')
  t.strictSame(read({ 'next.key': 'AAAA' })?.next, undefined)
  const garbage = '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n'
  t.strictSame(read({ 'previous.crt': base64(garbage + old.cert) })?.previous, [old.cert.trim()])
})

t.test('what is no Secret is an error that names the field', async t => {
  t.throws(() => parseSecret({ metadata, data: {} }), { message: /type/ })
})
