import { Registry } from 'prom-client'
import t from 'tap'

import { createWorkQueue, type Failure, type WorkQueueOptions } from '../../src/observer/queue/queue.ts'
import { measureQueues } from '../../src/observer/queue/metrics.ts'
import type { WorkResult } from '../../src/observer/queue/work.ts'
import { createTestClock } from './test-clock.ts'

interface Task extends PromiseWithResolvers<WorkResult | void> {
  readonly key: string
  readonly at: number
}

/** A queue whose workers do nothing until they are told how to end. */
function start(options: Partial<WorkQueueOptions<string>> = {}) {
  const time = createTestClock()
  const registry = new Registry()
  const failures: Failure<string>[] = []
  const queue = createWorkQueue<string>({
    name: 'test',
    concurrency: 2,
    measure: measureQueues(registry),
    clock: time.clock,
    onError: failure => failures.push(failure),
    ...options,
  })
  /** Every task that was ever handed out. */
  const tasks: Task[] = []
  const worker = (key: string): Promise<WorkResult | void> => {
    const task = { key, at: time.elapsed(), ...Promise.withResolvers<WorkResult | void>() }
    tasks.push(task)
    return task.promise
  }
  const stopping = new AbortController()
  const ended = queue.run(worker, stopping.signal)
  const stop = (): Promise<void> => {
    stopping.abort(new Error('stopped by the test'))
    return ended
  }
  const keys = (): readonly string[] => tasks.map(task => task.key)
  /** Ends the latest task of a key. */
  const end = async (key: string, result?: WorkResult | Error): Promise<void> => {
    const task = tasks.findLast(one => one.key === key)
    if (result instanceof Error) task?.reject(result)
    else task?.resolve(result)
    await time.settle()
  }
  const metric = async (name: string): Promise<string | undefined> =>
    new RegExp(`^${name}\\{name="test"\\} (.*)$`, 'm').exec(await registry.metrics())?.[1]
  return { ...time, queue, tasks, keys, end, failures, worker, stop, stopping, ended, registry, metric }
}

const IDLE = {
  ready: 0,
  delayed: 0,
  running: 0,
  failing: 0,
  oldestReadyMs: 0,
  longestRunningMs: 0,
  unfinishedMs: 0,
}

t.test('keys', async t => {
  t.test('are handed out in the order in which they came, to so many workers at once', async t => {
    const { queue, settle, keys, end } = start()
    for (const key of ['a', 'b', 'c', 'd']) t.equal(queue.add(key), true)
    await settle()
    t.strictSame(keys(), ['a', 'b'])
    await end('b')
    t.strictSame(keys(), ['a', 'b', 'c'])
    await end('a')
    t.strictSame(keys(), ['a', 'b', 'c', 'd'])
  })

  t.test('are handed out after the call that adds them', async t => {
    const { queue, settle, keys } = start()
    queue.add('a')
    await Promise.resolve()
    t.strictSame(keys(), [])
    await settle()
    t.strictSame(keys(), ['a'])
  })

  t.test('that wait are worked on once, however often they are added', async t => {
    const { queue, settle, keys, end } = start({ concurrency: 1 })
    for (const key of ['a', 'b', 'b', 'a', 'b']) queue.add(key)
    await settle()
    await end('a')
    await end('b')
    t.strictSame(keys(), ['a', 'b'])
    t.strictSame(queue.status(), IDLE)
  })

  t.test('are never with two workers, and come back once when added meanwhile', async t => {
    const { queue, settle, keys, end } = start({ concurrency: 3 })
    queue.add('a')
    await settle()
    queue.add('a')
    queue.add('a')
    await settle()
    t.strictSame(keys(), ['a'])
    t.match(queue.status(), { running: 1, ready: 1 })
    await end('a')
    t.strictSame(keys(), ['a', 'a'])
    await end('a')
    t.strictSame(keys(), ['a', 'a'])
    t.equal(queue.size(), 0)
  })

  t.test('that come back line up behind those that wait already', async t => {
    const { queue, settle, keys, end } = start({ concurrency: 1 })
    queue.add('a')
    await settle()
    queue.add('b')
    queue.add('a')
    await end('a')
    await end('b')
    t.strictSame(keys(), ['a', 'b', 'a'])
  })

  t.test('that came while all rested wake the workers again and again', async t => {
    const { queue, settle, keys, end } = start()
    for (const key of ['a', 'b', 'c']) {
      queue.add(key)
      await settle()
      await end(key)
    }
    t.strictSame(keys(), ['a', 'b', 'c'])
  })

  t.test('let the event loop turn between one and the next', async t => {
    const { clock, settle } = createTestClock()
    let turns = 0
    const counted = { ...clock, soon: (callback: () => void) => clock.soon(() => (turns++, callback())) }
    const queue = createWorkQueue<string>({ name: 'quick', concurrency: 1, clock: counted })
    for (let key = 0; key < 100; key++) queue.add(String(key))
    void queue.run(async () => {}, new AbortController().signal)
    t.equal(turns, 0)
    await settle()
    t.equal(queue.size(), 0)
    t.equal(turns, 101, 'one for all that are added together, and one a key')
  })
})

t.test('addAfter', async t => {
  t.test('adds when the time has come, and not before', async t => {
    const { queue, advance, keys } = start()
    queue.addAfter('a', 100)
    await advance(99)
    t.strictSame(keys(), [])
    await advance(1)
    t.strictSame(keys(), ['a'])
  })

  for (const [first, second] of [
    [100, 50],
    [50, 100],
  ] as const)
    t.test(`keeps the earlier of ${first} and ${second} ms, with one timer`, async t => {
      const { queue, advance, timers, tasks, end } = start()
      queue.addAfter('a', first)
      queue.addAfter('a', second)
      t.equal(timers(), 1)
      await advance(50)
      await end('a')
      await advance(1000)
      t.match(tasks, [{ key: 'a', at: 50 }])
      t.equal(tasks.length, 1)
      t.equal(timers(), 0)
    })

  t.test('at once is add', async t => {
    const { queue, settle, timers, keys } = start()
    queue.addAfter('a', 0)
    queue.addAfter('b', -5)
    t.equal(timers(), 0)
    await settle()
    t.strictSame(keys(), ['a', 'b'])
  })

  t.test('of a key that is being worked on adds it once more', async t => {
    const { queue, settle, advance, keys, end } = start()
    queue.add('a')
    await settle()
    queue.addAfter('a', 10)
    await advance(10)
    t.strictSame(keys(), ['a'])
    await end('a')
    t.strictSame(keys(), ['a', 'a'])
  })

  t.test('does not keep a key from being worked on before', async t => {
    const { queue, advance, keys, end } = start()
    queue.addAfter('a', 100)
    queue.add('a')
    await advance(0)
    await end('a')
    await advance(100)
    t.strictSame(keys(), ['a', 'a'])
  })

  t.test('asks no timer for more than it can count', async t => {
    const asked: number[] = []
    const { clock } = createTestClock()
    const queue = createWorkQueue<string>({
      name: 'far',
      concurrency: 1,
      clock: { ...clock, after: (ms, callback) => (asked.push(ms), clock.after(ms, callback)) },
    })
    queue.addAfter('a', Infinity)
    t.strictSame(asked, [2 ** 31 - 1])
  })

  t.test('refuses what is not a number: a timer would fire at once', async t => {
    const { queue } = start()
    t.throws(() => queue.addAfter('a', NaN), RangeError)
  })
})

const told = (retryAfterMs: unknown): Error => Object.assign(new Error('down'), { retryAfterMs })

t.test('work', async t => {
  t.test('that is done leaves nothing behind', async t => {
    const { queue, settle, end, timers } = start()
    queue.add('a')
    await settle()
    await end('a')
    t.strictSame(queue.status(), IDLE)
    t.equal(timers(), 0)
  })

  t.test('may ask to look again', async t => {
    const { queue, settle, advance, tasks, end } = start()
    queue.add('a')
    await settle()
    await end('a', { afterMs: 500 })
    t.match(queue.status(), { delayed: 1, failing: 0 })
    await advance(500)
    await end('a')
    t.match(tasks, [{ at: 0 }, { at: 500 }])
    t.strictSame(queue.status(), IDLE)
  })

  t.test('that asks for nonsense has failed, once', async t => {
    const { queue, settle, end, failures, metric } = start()
    queue.add('a')
    await settle()
    await end('a', { afterMs: NaN })
    t.match(failures, [{ key: 'a', error: RangeError, retryInMs: 200 }])
    t.equal(await metric('workqueue_work_duration_seconds_count'), '1')
  })

  t.test('that fails comes back, twice as late each time up to the longest wait', async t => {
    const { queue, settle, advance, tasks, end, failures } = start({ baseDelayMs: 100, maxDelayMs: 350 })
    queue.add('a')
    await settle()
    for (const wait of [100, 200, 350, 350]) {
      await end('a', new Error('no'))
      await advance(wait)
    }
    t.strictSame(
      tasks.map(task => task.at),
      [0, 100, 300, 650, 1000],
    )
    t.strictSame(
      failures.map(failure => failure.retryInMs),
      [100, 200, 350, 350],
    )
  })

  t.test('that does well begins its back-off anew', async t => {
    const { queue, advance, end, failures } = start({ baseDelayMs: 100 })
    queue.add('a')
    await advance(0)
    for (const result of [new Error('no'), new Error('no'), undefined, new Error('no')]) {
      await end('a', result)
      queue.add('a')
      await advance(200)
    }
    t.strictSame(
      failures.map(failure => failure.retryInMs),
      [100, 200, 100],
    )
  })

  t.test('of one key backs off by itself', async t => {
    const { queue, settle, end, failures } = start({ baseDelayMs: 100 })
    queue.add('a')
    queue.add('b')
    await settle()
    await end('a', new Error('no'))
    await end('b', new Error('no'))
    t.match(failures, [
      { key: 'a', retryInMs: 100 },
      { key: 'b', retryInMs: 100 },
    ])
  })

  for (const [what, error, retryInMs] of [
    ['that was told when to come back comes back then', told(5000), 5000],
    ['that was told to come back at once waits as after a first failure', told(0), 200],
    ['that was told nonsense backs off', told('soon'), 200],
    ['that was told never to come back backs off', told(Infinity), 200],
  ] as const)
    t.test(what, async t => {
      const { queue, settle, end, failures } = start()
      queue.add('a')
      await settle()
      await end('a', error)
      t.match(failures, [{ key: 'a', error, retryInMs }])
      t.equal(failures.length, 1)
    })

  t.test('that waits for somebody else is not blamed for it', async t => {
    const { queue, advance, end, failures } = start()
    queue.add('a')
    await advance(0)
    for (const error of [told(300), told(300), new Error('no')]) {
      await end('a', error)
      await advance(1000)
    }
    t.strictSame(
      failures.map(failure => failure.retryInMs),
      [300, 300, 200],
    )
  })

  t.test('that throws before it has begun to wait has failed like any other', async t => {
    const { clock, settle } = createTestClock()
    const failures: Failure<string>[] = []
    const queue = createWorkQueue<string>({
      name: 'sync',
      concurrency: 1,
      clock,
      onError: one => failures.push(one),
    })
    queue.add('a')
    void queue.run(() => {
      throw new Error('no')
    }, new AbortController().signal)
    await settle()
    t.match(failures, [{ key: 'a' }])
    t.match(queue.status(), { running: 0, delayed: 1 })
  })

  t.test('that throws no error at all has failed like any other', async t => {
    const { queue, settle, tasks, failures } = start()
    queue.add('a')
    await settle()
    tasks[0]?.reject('a string')
    await settle()
    t.match(failures, [{ key: 'a', error: 'a string', retryInMs: 200 }])
  })
})

t.test('addRateLimited', async t => {
  t.test('backs off until the key is forgotten', async t => {
    const { queue, advance, tasks, end } = start({ baseDelayMs: 100 })
    queue.addRateLimited('a')
    await advance(100)
    await end('a', new Error('no'))
    t.match(queue.status(), { failing: 1 })
    queue.forget('a')
    t.match(queue.status(), { failing: 0, delayed: 1 })
    queue.addRateLimited('a')
    await advance(200)
    t.strictSame(
      tasks.map(task => task.at),
      [100, 200],
    )
  })

  t.test('holds all keys together to a rate, after a burst', async t => {
    const { queue, advance, tasks } = start({
      concurrency: 10,
      baseDelayMs: 1,
      overall: { perSecond: 10, burst: 3 },
    })
    for (const key of ['a', 'b', 'c', 'd', 'e']) queue.addRateLimited(key)
    await advance(1000)
    t.strictSame(
      tasks.map(task => [task.key, task.at]),
      [
        ['a', 1],
        ['b', 1],
        ['c', 1],
        ['d', 100],
        ['e', 200],
      ],
    )
  })

  t.test('has a burst again after a while, and no more than that', async t => {
    const { queue, advance, tasks } = start({
      concurrency: 10,
      baseDelayMs: 1,
      overall: { perSecond: 10, burst: 2 },
    })
    queue.addRateLimited('a')
    await advance(60_000)
    for (const key of ['b', 'c', 'd']) queue.addRateLimited(key)
    await advance(1000)
    t.strictSame(
      tasks.map(task => task.at),
      [1, 60_001, 60_001, 60_100],
    )
  })
})

t.test('stopping', async t => {
  t.test('while waiting ends at once', async t => {
    const { stop, queue } = start()
    queue.addAfter('a', 1000)
    await stop()
    t.equal(queue.size(), 1)
  })

  t.test('lets work end first, and begins none', async t => {
    const { queue, settle, stop, ended, tasks, keys, end } = start({ concurrency: 1 })
    queue.add('a')
    queue.add('b')
    await settle()
    let isEnded = false
    void ended.then(() => (isEnded = true))
    void stop()
    await settle()
    t.equal(isEnded, false)
    t.equal(tasks.length, 1)
    await end('a')
    t.equal(isEnded, true)
    t.strictSame(keys(), ['a'])
  })

  t.test('puts what it interrupted back for the next run, which is no failure', async t => {
    const { queue, settle, stop, stopping, end, failures, worker, keys } = start()
    queue.add('a')
    await settle()
    const ended = stop()
    await end('a', stopping.signal.reason)
    await ended
    t.strictSame(failures, [])
    t.match(queue.status(), { ready: 1, failing: 0 })
    void queue.run(worker, new AbortController().signal)
    await settle()
    t.strictSame(keys(), ['a', 'a'])
  })

  t.test('before the start begins nothing', async t => {
    const { clock, settle } = createTestClock()
    const queue = createWorkQueue<string>({ name: 'late', concurrency: 1, clock })
    queue.add('a')
    const ended = queue.run(() => Promise.reject(new Error('must not be called')), AbortSignal.abort())
    await settle()
    await ended
    t.match(queue.status(), { ready: 1, running: 0 })
  })

  t.test('leaves no listener on the signal', async t => {
    const { clock, settle } = createTestClock()
    const queue = createWorkQueue<string>({
      name: 'broken',
      concurrency: 1,
      clock,
      onError: () => {
        throw new Error('onError must not throw')
      },
    })
    let listeners = 0
    const { signal } = new AbortController()
    const add = signal.addEventListener.bind(signal)
    const remove = signal.removeEventListener.bind(signal)
    Object.assign(signal, {
      addEventListener: (...args: Parameters<typeof add>) => (listeners++, add(...args)),
      removeEventListener: (...args: Parameters<typeof remove>) => (listeners--, remove(...args)),
    })
    const run = queue.run(() => Promise.reject(new Error('no')), signal)
    queue.add('a')
    void settle()
    await t.rejects(run, { message: 'onError must not throw' }, 'a defect of the owner is not swallowed')
    t.equal(listeners, 0)
    t.match(queue.status(), { running: 0, delayed: 1 }, 'and loses no key')
  })

  t.test('is needed before another run', async t => {
    const { queue, worker } = start()
    await t.rejects(queue.run(worker, new AbortController().signal), { message: /test runs already/ })
  })

  t.test('and clear leave nothing behind', async t => {
    const { queue, settle, stop, timers, end, advance, keys } = start({ concurrency: 1 })
    queue.add('a')
    await settle()
    queue.add('a')
    queue.add('b')
    queue.addAfter('c', 10)
    queue.addRateLimited('d')
    queue.clear()
    t.match(queue.status(), { ready: 0, delayed: 0, running: 1, failing: 0 })
    t.equal(timers(), 0)
    await end('a')
    await advance(1000)
    t.strictSame(keys(), ['a'])
    await stop()
    t.equal(queue.size(), 0)
  })
})

t.test('memory', async t => {
  t.test('a full queue turns new keys away and says so', async t => {
    const { queue, metric } = start({ maxKeys: 2 })
    t.equal(queue.add('a'), true)
    t.equal(queue.addAfter('b', 10), true)
    t.equal(queue.add('c'), false)
    t.equal(queue.addAfter('c', 10), false)
    t.equal(queue.addRateLimited('c'), false)
    t.match(queue.status(), { ready: 1, delayed: 1, failing: 0 })
    t.equal(await metric('lifeguard_workqueue_refused_total'), '3')
  })

  t.test('a full queue takes keys that it knows', async t => {
    const { queue, settle } = start({ maxKeys: 2 })
    queue.add('a')
    queue.addAfter('b', 10)
    await settle()
    t.equal(queue.add('a'), true, 'being worked on')
    t.equal(queue.add('b'), true, 'waiting for its time')
    await settle()
    t.match(queue.status(), { ready: 1, running: 2 })
  })

  t.test('a full queue loses no key that it has', async t => {
    const { queue, settle, advance, keys, end } = start({ maxKeys: 2, concurrency: 1 })
    queue.add('a')
    queue.addAfter('b', 10)
    await settle()
    queue.add('a')
    queue.addAfter('a', 1000)
    await advance(10)
    await end('a', new Error('no'))
    await end('b', { afterMs: 5 })
    await end('a')
    await advance(1000)
    await end('b')
    await end('a')
    t.same(new Set(keys()), new Set(['a', 'b']))
    t.ok(keys().length >= 4)
    t.equal(queue.size(), 0)
  })
})

t.test('liveness', async t => {
  t.test('shows how long the oldest key has waited or been worked on', async t => {
    const { queue, advance, end } = start({ concurrency: 1 })
    queue.add('a')
    await advance(5)
    queue.add('b')
    await advance(10)
    t.equal(queue.oldestAgeMs(), 15)
    t.match(queue.status(), { longestRunningMs: 15, unfinishedMs: 15, oldestReadyMs: 10 })
    await end('a')
    t.equal(queue.oldestAgeMs(), 0)
  })

  t.test('counts a wait, too', async t => {
    const { queue, advance, settle, end } = start({ concurrency: 1 })
    queue.add('a')
    await settle()
    queue.add('b')
    await advance(10)
    queue.add('a')
    await end('a')
    await advance(5)
    t.equal(queue.oldestAgeMs(), 5)
    await end('b')
    await settle()
    t.equal(queue.oldestAgeMs(), 0)
  })

  t.test('counts from the start of the run: a replica that stands by is not stuck', async t => {
    const { queue, stop, advance, worker } = start({ concurrency: 1 })
    await stop()
    queue.add('a')
    await advance(60_000)
    t.equal(queue.oldestAgeMs(), 0)
    void queue.run(worker, new AbortController().signal)
    t.equal(queue.oldestAgeMs(), 0)
    await advance(7)
    t.equal(queue.oldestAgeMs(), 7)
  })
})

t.test("metrics have client-go's names and seconds", async t => {
  const { queue, settle, advance, end, registry, metric } = start({ concurrency: 1 })
  queue.add('a')
  await settle()
  queue.add('b')
  queue.add('b')
  await advance(2000)
  t.equal(await metric('workqueue_depth'), '1')
  t.equal(await metric('workqueue_adds_total'), '2')
  t.equal(await metric('workqueue_unfinished_work_seconds'), '2')
  t.equal(await metric('workqueue_longest_running_processor_seconds'), '2')
  await end('a', new Error('no'))
  t.equal(await metric('workqueue_retries_total'), '1')
  t.equal(await metric('lifeguard_workqueue_delayed'), '1')
  t.equal(await metric('lifeguard_workqueue_failing'), '1')
  t.equal(await metric('workqueue_work_duration_seconds_sum'), '2')
  t.equal(await metric('workqueue_queue_duration_seconds_sum'), '2')
  t.equal(await metric('workqueue_queue_duration_seconds_count'), '2')
  t.throws(() => measureQueues(registry), 'one set a registry')
})

t.test('two queues of one name cannot be told apart', async t => {
  const measure = measureQueues(new Registry())
  createWorkQueue({ name: 'twice', concurrency: 1, measure })
  t.throws(() => createWorkQueue({ name: 'twice', concurrency: 1, measure }), { message: /twice already/ })
})

t.test('a queue needs no metrics and nobody who hears of failures', async t => {
  const { clock, settle } = createTestClock()
  const queue = createWorkQueue<string>({ name: 'alone', concurrency: 1, maxKeys: 1, clock })
  queue.add('a')
  t.equal(queue.add('b'), false)
  void queue.run(() => Promise.reject(new Error('no')), new AbortController().signal)
  await settle()
  t.match(queue.status(), { delayed: 1, failing: 1 })
})

t.test('the real clock works, and holds up no exit', async t => {
  const done = Promise.withResolvers<string>()
  const queue = createWorkQueue<string>({ name: 'real', concurrency: 1 })
  const stopping = new AbortController()
  const ended = queue.run(async key => done.resolve(key), stopping.signal)
  queue.addAfter('a', 1)
  queue.addAfter('b', 3_600_000)
  // A queue alone keeps no process alive; this test has to.
  const alive = setInterval(() => {}, 1000)
  t.equal(await done.promise, 'a')
  clearInterval(alive)
  stopping.abort()
  await ended
})
