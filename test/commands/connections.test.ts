import t from 'tap'
import { fencedBy } from '../../src/commands/connections.ts'

t.test('a write goes through while this replica leads, and not a moment longer', async t => {
  let isLeader = true
  const written: string[] = []
  const write = fencedBy(() => isLeader)(async (what: string, times: number) => {
    written.push(...Array.from({ length: times }, () => what))
    return written.length
  })
  t.equal(await write('state', 2), 2, 'arguments and answer pass')
  isLeader = false
  await t.rejects(write('state', 1), {
    name: 'NotLeading',
    message: 'not written: this replica no longer leads',
  })
  t.strictSame(written, ['state', 'state'])
  isLeader = true
  t.equal(await write('again', 1), 3)
})

t.test('what a write throws is thrown, as a rejection', async t => {
  const write = fencedBy(() => true)(() => Promise.reject(new Error('503')))
  await t.rejects(write(), { message: '503' })
})
