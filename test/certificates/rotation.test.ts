import t from 'tap'
import { createAuthority, renewalTime } from '../../src/certificates/authority.ts'
import { isLeafDue, promoted, rotationStep, trusted } from '../../src/certificates/rotation.ts'
import type { RotationFacts } from '../../src/certificates/rotation.ts'

const day = (days: number): Date => new Date(Date.UTC(2026, 0, 1 + days))

t.equal(
  renewalTime({ notBefore: day(0), notAfter: day(90) }).getTime(),
  day(60).getTime(),
  'a third of life is left',
)

const [old, current, next] = await Promise.all([
  createAuthority({ notBefore: day(-60), notAfter: day(30) }),
  createAuthority({ notBefore: day(0), notAfter: day(90) }),
  createAuthority({ notBefore: day(60), notAfter: day(150) }),
])

const alone = { current, previous: [] }
const prepared = { current, next, previous: [] }
const HOUR = 60 * 60 * 1000

const cases: Record<string, { facts: Partial<RotationFacts>; step: string }> = {
  'the first replica makes an authority': { facts: { authorities: undefined }, step: 'create' },
  'a young one stays': { facts: { authorities: alone, now: day(59) }, step: 'keep' },
  'with a third of life left the next one is prepared': {
    facts: { authorities: alone, now: day(60) },
    step: 'prepare',
  },
  'an expired one without a successor is replaced at once': {
    facts: { authorities: alone, now: day(90) },
    step: 'create',
  },
  'one that is not good yet comes from a clock ahead of ours': {
    facts: { authorities: alone, now: day(-1) },
    step: 'keep',
  },
  'the next one waits as long as some configuration does not hold it': {
    facts: { authorities: prepared, now: day(80), nextTrustedSince: undefined },
    step: 'keep',
  },
  'the next one waits until every apiserver has heard of it': {
    facts: { authorities: prepared, now: new Date(day(80).getTime() + HOUR - 1), nextTrustedSince: day(80) },
    step: 'keep',
  },
  'the next one takes over when it is trusted everywhere': {
    facts: { authorities: prepared, now: new Date(day(80).getTime() + HOUR), nextTrustedSince: day(80) },
    step: 'promote',
  },
  'the next one takes over from an expired one, trusted or not': {
    facts: { authorities: prepared, now: day(90) },
    step: 'promote',
  },
  'a next one that expired unused is prepared again': {
    facts: { authorities: { current, next: old, previous: [] }, now: day(61), nextTrustedSince: day(0) },
    step: 'prepare',
  },
}

for (const [name, { facts, step }] of Object.entries(cases)) {
  t.test(name, async t => {
    const defaults = { authorities: undefined, nextTrustedSince: undefined, propagationMs: HOUR, now: day(0) }
    t.equal(rotationStep({ ...defaults, ...facts }).kind, step)
  })
}

t.test('a promotion drops the old key and keeps its certificate until it ends', async t => {
  const after = promoted({ current, next, previous: [old.cert] }, next, day(29))
  t.strictSame(after, { current: next, previous: [current.cert, old.cert] })
  t.notMatch(JSON.stringify(after), JSON.stringify(current.key))
  t.strictSame(promoted({ current, next, previous: [old.cert] }, next, day(31)).previous, [current.cert])
})

t.test('the bundle holds whoever may have signed a leaf in use, now or soon', async t => {
  const authorities = { current, next, previous: [old.cert] }
  t.strictSame(trusted(authorities, day(29)), [current.cert, next.cert, old.cert])
  t.strictSame(trusted(authorities, day(31)), [current.cert, next.cert])
  t.strictSame(trusted(alone, day(1)), [current.cert])
})

t.test('a leaf is due', async t => {
  const leaf = { ...current, authority: current.cert }
  t.ok(isLeafDue(undefined, alone, day(1)), 'when there is none')
  t.notOk(isLeafDue(leaf, alone, day(59)), 'not while it is young')
  t.ok(isLeafDue(leaf, alone, day(60)), 'with a third of life left')
  t.ok(isLeafDue(leaf, { current: next, previous: [] }, day(1)), 'when another authority signs')
  t.ok(isLeafDue(leaf, alone, day(-1)), 'when the clock went back before it')
})
