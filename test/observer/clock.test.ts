import t from 'tap'

import { systemClock } from '../../src/observer/clock.ts'

t.test("the system's clock", async t => {
  const { now, monotonic, sleep, after, soon, random } = systemClock

  t.test('tells the time, twice', async t => {
    t.ok(Math.abs(now() - Date.now()) < 60_000)
    const before = monotonic()
    t.ok(monotonic() >= before)
  })

  t.test('calls back once, unless that is called off', async t => {
    const alive = setInterval(() => {}, 1000)
    const calls: string[] = []
    const cancel = after(1, () => calls.push('called off'))
    cancel()
    const { promise, resolve } = Promise.withResolvers<void>()
    after(5, resolve)
    await promise
    clearInterval(alive)
    t.strictSame(calls, [])
  })

  t.test('calls back soon, and not within the call', async t => {
    const { promise, resolve } = Promise.withResolvers<string>()
    let when = 'within the call'
    soon(() => resolve(when))
    when = 'afterwards'
    t.equal(await promise, 'afterwards')
  })

  t.test('sleeps, and no longer than its signal lets it', async t => {
    const stopping = new AbortController()
    const sleeping = sleep(3_600_000, stopping.signal)
    stopping.abort()
    await t.rejects(sleeping, { name: 'AbortError' })
  })

  t.test('throws dice', async t => {
    const thrown = random()
    t.ok(thrown >= 0 && thrown < 1)
  })
})
