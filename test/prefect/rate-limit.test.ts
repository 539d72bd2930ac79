import t from 'tap'

import { createRateLimit } from '../../src/prefect/rate-limit.ts'
import type { Priority } from '../../src/prefect/rate-limit.ts'
import { createFakeClock, neverAborted } from './help.ts'

const forEver = Number.POSITIVE_INFINITY

const setUp = (requestsPerMinute: number) => {
  const clock = createFakeClock()
  const rateLimit = createRateLimit(requestsPerMinute, clock)
  return {
    clock,
    take: (priority: Priority, maxWaitMs = forEver) => rateLimit.take(priority, maxWaitMs, neverAborted),
  }
}

t.test('600 a minute: a burst of 80 at once, then one every 125 ms, for the observer', async t => {
  const { clock, take } = setUp(600)
  for (let n = 0; n < 80; n += 1) await take('observer')
  t.same(clock.sleeps, [])
  await take('observer')
  await take('observer')
  t.same(clock.sleeps, [125, 125])
})

t.test('in no minute more than the limit and one burst go out', async t => {
  const { clock, take } = setUp(300)
  const start = clock.now()
  let sent = 0
  while (clock.now() < start + 60_000) {
    await take('observer')
    await take('admission')
    sent += 2
  }
  t.ok(sent <= 300 + 50 + 2, `${sent}`)
})

t.test('admission does not wait behind an observer that has used up everything', async t => {
  const { clock, take } = setUp(300)
  while ((await take('observer', 0)).taken);
  for (let n = 0; n < 10; n += 1) t.same(await take('admission', 0), { taken: true })
  t.same(clock.sleeps, [])
})

t.test('admission takes what the observer leaves lying, but not the other way round', async t => {
  const { take } = setUp(300)
  let admitted = 0
  while ((await take('admission', 0)).taken) admitted += 1
  t.equal(admitted, 50)
  t.match(await take('observer', 0), { taken: false })

  const other = setUp(300)
  let observed = 0
  while ((await other.take('observer', 0)).taken) observed += 1
  t.equal(observed, 40)
})

t.test('a turn that would come too late is refused at once, and costs nothing', async t => {
  const { clock, take } = setUp(60)
  while ((await take('observer', 0)).taken);
  t.same(await take('observer', 1_000), { taken: false, retryAfterMs: 1_250 })
  t.same(await take('observer', 1_250), { taken: true })
  t.same(clock.sleeps, [1_250])
})

t.test('those who wait keep their order: each has its own turn', async t => {
  const waits: number[] = []
  const clock = {
    now: () => 0,
    sleep: async (ms: number) => {
      waits.push(ms)
    },
  }
  const rateLimit = createRateLimit(75, clock)
  const takes = Array.from({ length: 13 }, () => rateLimit.take('observer', forEver, neverAborted))
  await Promise.all(takes)
  t.same(waits, [1_000, 2_000, 3_000])
})

t.test('a turn of somebody who gave up is free again', async t => {
  const stop = new AbortController()
  const clock = {
    now: () => 0,
    sleep: async (_ms: number, signal: AbortSignal) => {
      signal.throwIfAborted()
    },
  }
  const rateLimit = createRateLimit(75, clock)
  for (let n = 0; n < 10; n += 1) await rateLimit.take('observer', 0, neverAborted)
  stop.abort(new Error('stopping'))
  await t.rejects(rateLimit.take('observer', forEver, stop.signal), { message: 'stopping' })
  t.same(await rateLimit.take('observer', 0, neverAborted), { taken: false, retryAfterMs: 1_000 })
})
