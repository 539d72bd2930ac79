import t from 'tap'
import type { OutboxDeps, RunEvent, RunLog } from '../../src/observer/outbox.ts'
import { createOutbox } from '../../src/observer/outbox.ts'
import { createTestClock } from './test-clock.ts'

const line = (message: string): RunLog => ({ flowRunId: 'run', level: 40, message, timestamp: 0 })

const event = (id: string): RunEvent => ({
  id,
  occurred: 0,
  event: 'prefect-lifeguard.flow-run.crashed',
  resource: { 'prefect.resource.id': 'prefect.flow-run.run' },
  related: [],
  payload: {},
})

/** Prefect is too busy, and says when to come back. */
const unavailable = (): Error => Object.assign(new Error('503'), { retryAfterMs: 1000 })

type Trouble = Parameters<OutboxDeps['onTrouble']>[0]

/** An outbox that is at work, with what arrived; `fail` says whether, and how, a request fails. */
function start(fail: (what: string, signal: AbortSignal) => Promise<void> = async () => {}) {
  const time = createTestClock()
  const stop = new AbortController()
  const batches: (readonly string[])[] = []
  const events: (readonly string[])[] = []
  const troubles: Trouble[] = []
  const outbox = createOutbox({
    sendLogs: async (logs, signal) => {
      await fail('logs', signal)
      batches.push(logs.map(({ message }) => message))
    },
    emitEvents: async (sent, signal) => {
      await fail('events', signal)
      events.push(sent.map(({ id }) => id))
    },
    sleep: time.clock.sleep,
    onTrouble: trouble => troubles.push(trouble),
  })
  const running = outbox.run(stop.signal)
  const end = async (): Promise<void> => {
    stop.abort()
    await running
  }
  return { ...time, ...outbox, stop, running, end, batches, events, troubles }
}

t.test('what is said within half a second goes in one request, in order', async t => {
  const outbox = start()
  for (const word of ['a', 'b', 'c']) outbox.log(line(word))
  outbox.event(event('1'))
  t.equal(outbox.waiting(), 4)
  await outbox.advance(500)
  outbox.log(line('d'))
  await outbox.advance(500)
  t.strictSame(outbox.batches, [['a', 'b', 'c'], ['d']])
  t.strictSame(outbox.events, [['1']])
  t.equal(outbox.waiting(), 0)
  await outbox.advance(10_000)
  t.equal(outbox.batches.length, 2, 'where nothing is said nothing is sent')
  await outbox.end()
})

t.test('what could not be sent is kept, in order, and tried again later each time', async t => {
  let isDown = true
  const tries: number[] = []
  const outbox = start(async what => {
    if (what === 'logs') tries.push(outbox.elapsed())
    if (tries.length === 1) outbox.log(line('b'))
    if (isDown) throw unavailable()
  })
  outbox.log(line('a'))
  await outbox.advance(120_000)
  t.strictSame(tries, [500, 1500, 3500, 7500, 15_500, 31_500, 61_500, 91_500])
  t.match(outbox.troubles.at(-1), { what: 'logs', waiting: 2, dropped: 0, err: { message: '503' } })
  isDown = false
  await outbox.advance(30_000)
  t.strictSame(outbox.batches, [['a', 'b']])
  outbox.log(line('c'))
  await outbox.advance(500)
  t.strictSame(outbox.batches.at(-1), ['c'], 'and then as often as ever')
  await outbox.end()
})

t.test('events go where logs do not', async t => {
  const outbox = start(async what => {
    if (what === 'logs') throw unavailable()
  })
  outbox.log(line('a'))
  outbox.event(event('1'))
  await outbox.advance(500)
  t.strictSame([outbox.batches, outbox.events, outbox.waiting()], [[], [['1']], 1])
  await outbox.end()
})

t.test(
  'what Prefect refuses is dropped, and told: it would be refused again, with all behind it',
  async t => {
    const outbox = start(async () => {
      throw new Error('422')
    })
    outbox.log(line('a'))
    await outbox.advance(500)
    t.equal(outbox.waiting(), 0)
    t.match(outbox.troubles, [{ what: 'logs', waiting: 0, dropped: 1, err: { message: '422' } }])
    await outbox.end()
  },
)

t.test('ten thousand lines wait at most; the oldest thousand go first, and are counted', async t => {
  let isDown = true
  const outbox = start(async () => {
    if (isDown) throw unavailable()
  })
  for (let n = 0; n < 10_000; n += 1) outbox.log(line(`${n}`))
  t.equal(outbox.waiting(), 10_000)
  outbox.log(line('10000'))
  t.equal(outbox.waiting(), 9000)
  await outbox.advance(500)
  t.match(outbox.troubles, [{ what: 'logs', waiting: 9000, dropped: 1001 }])
  for (let n = 0; n < 300_000; n += 1) outbox.log(line('more'))
  t.ok(outbox.waiting() <= 10_000, 'however much more is said')
  isDown = false
  await outbox.advance(30_000)
  t.ok(outbox.batches[0]?.every(message => message === 'more'))
  await outbox.end()
})

t.test('at the end the last words are sent', async t => {
  t.test('that wait', async t => {
    const outbox = start()
    await outbox.settle()
    outbox.log(line('last'))
    await outbox.end()
    t.strictSame(outbox.batches, [['last']])
  })
  t.test('that were on their way', async t => {
    let requests = 0
    const outbox = start(async (_what, signal) => {
      requests += 1
      if (requests > 1) return
      const { promise, reject } = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => reject(signal.reason))
      await promise
    })
    outbox.log(line('on its way'))
    await outbox.advance(500)
    await outbox.end()
    t.strictSame(outbox.batches, [['on its way']])
  })
  t.test('with a time limit of their own', async t => {
    const outbox = start(async (_what, signal) => {
      t.notOk(signal.aborted)
      t.not(signal, outbox.stop.signal)
      throw unavailable()
    })
    await outbox.settle()
    outbox.log(line('nobody listens'))
    await outbox.end()
    t.equal(outbox.waiting(), 1, 'what is left waits for the next time we lead')
  })
})
