import t from 'tap'
import { isStuckStartCode } from '../../src/core/diagnosis/codes.ts'
import type { Verdict } from '../../src/core/verdict.ts'
import { decideIn } from './build/world.ts'
import { DEATHS } from './deaths.ts'

t.test('how a run can die, what is seen of it, and what becomes of it', async t => {
  for (const { dies, seen, becomes, world } of DEATHS) {
    await t.test(dies, async t => {
      const { verdict } = decideIn(world)
      t.equal(stateAfter(verdict), becomes)
      t.match(verdict, { diagnosis: { code: seen } })
    })
  }
})

t.test('where only reports are wanted, the same deaths are told and nothing is moved', async t => {
  for (const { dies, seen, becomes, world } of DEATHS) {
    const { verdict } = decideIn({ ...world, settings: { ...world.settings, failureState: 'report' } })
    t.match(verdict, { kind: 'report', would: WOULD[becomes], diagnosis: { code: seen } }, dies)
  }
})

t.test('where runs are to become Failed, they do so by way of Crashed', async t => {
  for (const { dies, becomes, world } of DEATHS.filter(({ becomes }) => becomes === 'Crashed')) {
    const { verdict } = decideIn({ ...world, settings: { ...world.settings, failureState: 'failed' } })
    t.match(verdict, { kind: 'crash', thenFail: true }, `${dies} ${becomes}`)
  }
})

t.test('a Job that cannot start is told of at once, by each code that can mean it', async t => {
  const told = new Set(DEATHS.filter(({ becomes }) => becomes === 'unchanged').map(({ seen }) => seen))
  for (const code of DEATHS.map(({ seen }) => seen).filter(isStuckStartCode)) t.ok(told.has(code), code)
})

const WOULD: Readonly<Record<string, string>> = {
  Crashed: 'crash',
  AwaitingRetry: 'newAttempt',
  Cancelled: 'cancel',
  unchanged: 'nothing',
}

function stateAfter({ kind }: Verdict): string {
  if (kind === 'crash') return 'Crashed'
  if (kind === 'newAttempt') return 'AwaitingRetry'
  return kind === 'cancel' ? 'Cancelled' : 'unchanged'
}
