import { array, assert, nat, property } from 'fast-check'
import t from 'tap'

import { createBackoff } from '../../src/kubernetes/watch/backoff.ts'
import { systemClock } from '../../src/kubernetes/clock.ts'
import { createDeadline } from '../../src/kubernetes/http/deadline.ts'
import { createSpamFilter } from '../../src/kubernetes/spam-filter.ts'
import { compareVersions } from '../../src/kubernetes/watch/versions.ts'

t.test(
  'a back-off doubles up to half a minute, draws below its bound, and forgets after two quiet minutes',
  async t => {
    let now = 0
    let chance = 1
    const backoff = createBackoff({ monotonic: () => now, random: () => chance })
    const next = (): number => {
      const wait = backoff.next(0)
      now += wait
      return wait
    }
    t.strictSame(Array.from({ length: 8 }, next), [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000])
    chance = 0.1
    t.equal(next(), 3000)
    chance = 1
    t.equal(backoff.next(45_000), 75_000, 'what the server asks for is the least')
    now += 75_000 + 119_999
    t.equal(backoff.next(0), 30_000, 'not yet forgotten')
    now += 30_000 + 120_001
    t.equal(backoff.next(0), 800)
  },
)

t.test(
  'of Events about one object 25 pass at once, and one every five minutes; others are not concerned',
  async t => {
    let now = 0
    const filter = createSpamFilter({ monotonic: () => now })
    const passed = (uid: string, times: number): number =>
      Array.from({ length: times }, () => filter.admits(uid)).filter(Boolean).length
    t.equal(passed('a', 40), 25)
    t.equal(passed('b', 1), 1)
    now += 5 * 60_000
    t.equal(passed('a', 3), 1)
    now += 24 * 60 * 60_000
    t.equal(passed('c', 1), 1)
    t.equal(passed('a', 40), 25, 'a day later it is as if nothing had been')
  },
)

t.test('resource versions are compared as the numbers they are', async t => {
  t.ok(compareVersions('9', '10') < 0)
  t.ok(
    compareVersions('18446744073709551615', '18446744073709551614') > 0,
    'also where a double is too coarse',
  )
  const same = property(
    nat(),
    nat(),
    (a, b) => Math.sign(compareVersions(String(a), String(b))) === Math.sign(a - b),
  )
  assert(same)
  const sorted = property(array(nat()), numbers => {
    const bySort = numbers.map(String).toSorted(compareVersions).map(Number)
    return JSON.stringify(bySort) === JSON.stringify(numbers.toSorted((a, b) => a - b))
  })
  assert(sorted)
})

t.test('a deadline follows its parent, whenever that aborts, and leaves nothing behind', async t => {
  const parent = new AbortController()
  const reason = new Error('enough')
  const cleared = createDeadline(parent.signal, 60_000)
  cleared.clear()
  const followed = createDeadline(parent.signal, 60_000)
  parent.abort(reason)
  t.equal(followed.signal.reason, reason)
  t.notOk(followed.expired())
  t.notOk(cleared.signal.aborted)
  followed.clear()
  const late = createDeadline(parent.signal, 60_000)
  t.equal(late.signal.reason, reason)
  late.clear()
})

t.test('the system’s clock tells the time and wakes who is called off', async t => {
  t.ok(Math.abs(systemClock.now() - Date.now()) < 1000)
  t.ok(systemClock.random() < 1)
  const before = systemClock.monotonic()
  await systemClock.sleep(1, AbortSignal.timeout(5000))
  t.ok(systemClock.monotonic() > before)
  await t.rejects(systemClock.sleep(60_000, AbortSignal.abort()))
})
