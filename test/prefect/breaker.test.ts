import t from 'tap'

import { createBreaker } from '../../src/prefect/breaker.ts'
import type { BreakerState } from '../../src/prefect/breaker.ts'
import { createFakeClock } from './help.ts'

const setUp = () => {
  const clock = createFakeClock()
  const changes: BreakerState[] = []
  const breaker = createBreaker({
    now: clock.now,
    random: () => 1,
    onChange: state => changes.push(state),
  })
  const fail = (times: number) => {
    for (let n = 0; n < times; n += 1) breaker.failed({ why: 'answered 503' })
  }
  return { clock, breaker, changes, fail }
}

t.test('single failures between successes open nothing', async t => {
  const { breaker, changes, fail } = setUp()
  for (let n = 0; n < 10; n += 1) {
    fail(4)
    breaker.succeeded()
  }
  t.equal(breaker.enter(), 0)
  t.same(changes, [])
})

t.test('five failures in a row open it, and it says for how long and why', async t => {
  const { breaker, changes, fail } = setUp()
  fail(5)
  t.equal(breaker.waitMs(), 1_000)
  t.equal(breaker.enter(), 1_000)
  t.equal(breaker.why(), 'answered 503')
  t.same(changes, ['open'])
})

t.test('when the time is over, one may go out, the others wait for it', async t => {
  const { breaker, clock, changes, fail } = setUp()
  fail(5)
  clock.advance(1_000)
  t.equal(breaker.waitMs(), 0)
  t.equal(breaker.enter(), 0)
  t.equal(breaker.enter(), 1_000)
  breaker.succeeded()
  t.equal(breaker.enter(), 0)
  t.same(changes, ['open', 'halfOpen', 'closed'])
})

t.test('each failed probe doubles the time, up to half a minute, until there is a success', async t => {
  const { breaker, clock, fail } = setUp()
  const waits: number[] = []
  fail(5)
  for (let n = 0; n < 7; n += 1) {
    waits.push(breaker.waitMs())
    clock.advance(breaker.waitMs())
    breaker.enter()
    fail(1)
  }
  t.same(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
  breaker.succeeded()
  fail(5)
  t.equal(breaker.waitMs(), 1_000)
})

t.test('requests that were under way when it opened change nothing', async t => {
  const { breaker, fail } = setUp()
  fail(25)
  t.equal(breaker.waitMs(), 1_000)
})

t.test('a server that wants to be left alone is left alone at once', async t => {
  const { breaker, clock } = setUp()
  breaker.failed({ why: 'answered 429', retryAfterMs: 60_000 })
  t.equal(breaker.enter(), 60_000)
  clock.advance(60_000)
  t.equal(breaker.enter(), 0)
})

t.test('a probe that was abandoned is not the last one', async t => {
  const { breaker, clock, changes, fail } = setUp()
  fail(5)
  clock.advance(1_000)
  breaker.enter()
  breaker.abandoned()
  t.equal(breaker.enter(), 0)
  breaker.succeeded()
  breaker.abandoned()
  t.equal(breaker.enter(), 0)
  t.same(changes, ['open', 'halfOpen', 'open', 'halfOpen', 'closed'])
})
