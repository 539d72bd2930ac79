import { readFile } from 'node:fs/promises'
import t from 'tap'
import { README, withSections } from './readme.ts'

const readme = await readFile(README, 'utf8')

t.test('the README says of deaths, codes and settings what the code says: else `npm run docs`', async t => {
  t.equal(withSections(readme), readme)
})

t.test('a README that lacks a section is no README', async t => {
  t.throws(() => withSections(readme.replace('<!-- end:deaths -->', '')), /no <!-- end:deaths -->/)
})
