import { setImmediate as turn } from 'node:timers/promises'

import * as fc from 'fast-check'
import t from 'tap'

import { createWorkQueue } from '../../src/observer/queue/queue.ts'
import type { WorkResult } from '../../src/observer/queue/work.ts'
import { createTestClock } from './test-clock.ts'

const CONCURRENCY = 2
const BASE_MS = 10
const MAX_MS = 70

/** What may happen to a queue: something, to some key, with some time. */
interface Step {
  readonly what: keyof typeof STEPS
  readonly key: string
  readonly ms: number
}

/** The contract in its simplest form: what each key waits for, without any queue, timer or worker. */
function createModel(now: () => number) {
  const ready = new Set<string>()
  const delayed = new Map<string, number>()
  const running = new Set<string>()
  const failures = new Map<string, number>()
  const promote = (): void => {
    for (const [one, due] of delayed)
      if (due <= now()) {
        delayed.delete(one)
        ready.add(one)
      }
  }
  const after = (one: string, wait: number): void => {
    promote()
    if (wait <= 0) ready.add(one)
    else delayed.set(one, Math.min(delayed.get(one) ?? Infinity, now() + wait))
  }
  const failed = (one: string): number => {
    const before = failures.get(one) ?? 0
    failures.set(one, before + 1)
    return Math.min(MAX_MS, BASE_MS * 2 ** before)
  }
  return {
    running,
    failures,
    after,
    failed,
    /** A worker got this key: was that right? */
    started: (one: string): void => {
      promote()
      if (running.has(one)) throw new Error(`${one} is with two workers`)
      if (running.size === CONCURRENCY) throw new Error(`${one} is with a worker too many`)
      if (!ready.delete(one)) throw new Error(`${one} is with a worker for no reason`)
      running.add(one)
    },
    /** Nothing more will happen at this moment: does anything lie about? */
    settled: (): void => {
      promote()
      const left = [...ready].filter(one => !running.has(one))
      if (left.length > 0 && running.size < CONCURRENCY)
        throw new Error(`${left.join()} wait beside an idle worker`)
    },
    counts: () => {
      promote()
      return { ready: ready.size, delayed: delayed.size, running: running.size, failing: failures.size }
    },
  }
}

/** A queue and its model, side by side. */
function createPair() {
  const time = createTestClock()
  const model = createModel(time.clock.monotonic)
  const tasks = new Map<string, PromiseWithResolvers<WorkResult | void>>()
  const wrong: unknown[] = []
  const queue = createWorkQueue<string>({
    name: 'model',
    concurrency: CONCURRENCY,
    baseDelayMs: BASE_MS,
    maxDelayMs: MAX_MS,
    overall: { perSecond: 1e9, burst: 1e9 },
    clock: time.clock,
  })
  const worker = (one: string): Promise<WorkResult | void> => {
    try {
      model.started(one)
    } catch (error) {
      wrong.push(error)
    }
    const task = Promise.withResolvers<WorkResult | void>()
    tasks.set(one, task)
    return task.promise
  }
  let stopping = new AbortController()
  let ended = queue.run(worker, stopping.signal)
  /** Ends work on a key, if there is any. */
  const end = async (
    one: string,
    how: (task: PromiseWithResolvers<WorkResult | void>) => void,
  ): Promise<void> => {
    const task = tasks.get(one)
    if (!task) return
    tasks.delete(one)
    model.running.delete(one)
    how(task)
    // The queue hears of it, and has not had its turn yet.
    await turn()
  }
  /** Throws where the queue did what it must not, or differs from the model. */
  const check = (after: string): void => {
    if (wrong.length > 0) throw wrong[0]
    const { ready, delayed, running, failing } = queue.status()
    const actual = JSON.stringify({ ready, delayed, running, failing })
    const expected = JSON.stringify(model.counts())
    if (actual !== expected) throw new Error(`after ${after}: ${actual}, expected ${expected}`)
  }
  return { ...time, model, queue, tasks, end, check, restart }

  /** Half of what is under way is interrupted, the other half still ends well. */
  async function restart(): Promise<void> {
    stopping.abort(new Error('restart'))
    for (const [index, one] of [...tasks.keys()].entries())
      await end(one, task => {
        if (index % 2 === 1) {
          model.failures.delete(one)
          return task.resolve()
        }
        model.after(one, 0)
        task.reject(stopping.signal.reason)
      })
    await time.settle()
    await ended
    stopping = new AbortController()
    ended = queue.run(worker, stopping.signal)
  }
}

type Pair = ReturnType<typeof createPair>

const STEPS = {
  add: ({ queue, model }: Pair, { key }: Step) => {
    queue.add(key)
    model.after(key, 0)
  },
  addAfter: ({ queue, model }: Pair, { key, ms }: Step) => {
    queue.addAfter(key, ms)
    model.after(key, ms)
  },
  addRateLimited: ({ queue, model }: Pair, { key }: Step) => {
    queue.addRateLimited(key)
    model.after(key, model.failed(key))
  },
  forget: ({ queue, model }: Pair, { key }: Step) => {
    queue.forget(key)
    model.failures.delete(key)
  },
  succeed: ({ model, end }: Pair, { key }: Step) =>
    end(key, task => {
      model.failures.delete(key)
      task.resolve()
    }),
  askAgain: ({ model, end }: Pair, { key, ms }: Step) =>
    end(key, task => {
      model.failures.delete(key)
      model.after(key, ms)
      task.resolve({ afterMs: ms })
    }),
  fail: ({ model, end }: Pair, { key }: Step) =>
    end(key, task => {
      model.after(key, model.failed(key))
      task.reject(new Error('no'))
    }),
  failUntil: ({ model, end }: Pair, { key, ms }: Step) =>
    end(key, task => {
      model.after(key, Math.max(BASE_MS, ms))
      task.reject(Object.assign(new Error('down'), { retryAfterMs: ms }))
    }),
  advance: async ({ model, advance }: Pair, { ms }: Step) => {
    await advance(Math.max(0, ms))
    model.settled()
  },
  settle: async ({ model, settle }: Pair) => {
    await settle()
    model.settled()
  },
  restart: ({ restart }: Pair) => restart(),
} as const

const step: fc.Arbitrary<Step> = fc.record({
  what: fc.constantFrom(...Object.keys(STEPS).filter(isStep)),
  key: fc.constantFrom('a', 'b', 'c', 'd'),
  ms: fc.integer({ min: -1, max: 60 }),
})

function isStep(what: string): what is keyof typeof STEPS {
  return what in STEPS
}

/** Everything that is owed is worked on, and ends well. */
async function drain({ advance, tasks, end, model, queue }: Pair): Promise<void> {
  for (let round = 0; round < 50; round++) {
    await advance(MAX_MS)
    model.settled()
    for (const one of tasks.keys())
      await end(one, task => {
        model.failures.delete(one)
        task.resolve()
      })
  }
  // A back-off that nobody ended, of a key that nobody added since, is the owner's.
  for (const one of model.failures.keys()) queue.forget(one)
  model.failures.clear()
}

t.test('in whatever order things happen', async t => {
  await t.resolves(
    fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async steps => {
        const pair = createPair()
        for (const one of steps) {
          await STEPS[one.what](pair, one)
          pair.check(one.what)
        }
        await drain(pair)
        pair.check('the end')
        if (pair.queue.size() + pair.timers() > 0)
          throw new Error(`something was kept: ${JSON.stringify(pair.queue.status())}`)
      }),
      { numRuns: 500 },
    ),
    'no key is lost, doubled, early, idle beside a free worker, or kept',
  )
})
