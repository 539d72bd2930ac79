import { join } from 'node:path'
import t from 'tap'
import { createAuthority, signLeaf } from '../../src/certificates/authority.ts'
import { readClientCa } from '../../src/certificates/client-ca.ts'

const life = { notBefore: new Date('2026-01-01'), notAfter: new Date('2027-01-01') }
const authority = await createAuthority(life)
const leaf = await signLeaf({ authority, dnsNames: ['somebody'], ...life })

const folder = t.testdir({ 'ca.crt': authority.cert, 'leaf.crt': leaf.cert, 'note.txt': 'no certificate' })

t.test('an authority is read as it stands', async t => {
  t.equal(await readClientCa(join(folder, 'ca.crt')), authority.cert)
})

for (const [file, problem] of [
  ['gone.crt', /cannot read .*gone\.crt.*LIFEGUARD_CLIENT_CA_FILE/],
  ['note.txt', /note\.txt of LIFEGUARD_CLIENT_CA_FILE holds no certificate/],
  ['leaf.crt', /leaf\.crt .*is no authority/],
] as const) {
  t.test(`${file} is refused by name`, async t => {
    await t.rejects(readClientCa(join(folder, file)), { message: problem })
  })
}
