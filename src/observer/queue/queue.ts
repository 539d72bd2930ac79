import { systemClock, type Clock } from '../clock.ts'
import { createDelays, type Delays } from './delays.ts'
import { createKeys, type Keys, type Taken } from './keys.ts'
import { measureNothing, type MeasureQueue, type QueueFigures, type QueueMetrics } from './metrics.ts'
import { duration, outcomeOf, type Failed, type Worker } from './work.ts'
import { createRetryLimit, type RetryLimit, type RetryLimitOptions } from './retry-limit.ts'

/** Work that failed; for the log. */
export interface Failure<K> {
  readonly key: K
  readonly error: unknown
  readonly retryInMs: number
}

export interface WorkQueueOptions<K extends string> extends Partial<Omit<RetryLimitOptions, 'now'>> {
  /** The label `name` of its metrics. */
  readonly name: string
  /** How many keys are worked on at once. */
  readonly concurrency: number
  /** Beyond so many keys, new ones are turned away; whoever adds must then look at everything later. */
  readonly maxKeys?: number
  /** Must not throw. */
  readonly onError?: (failure: Failure<K>) => void
  readonly measure?: MeasureQueue
  readonly clock?: Pick<Clock, 'monotonic' | 'after' | 'soon'>
}

/**
 * client-go's rate-limited, delaying work queue. A key waits once however often it is added, is never worked on twice
 * at a time, and comes back when it was added while being worked on. For a key at rest nothing is kept.
 */
export interface WorkQueue<K extends string> {
  /** False when the queue is full and the key was turned away. */
  readonly add: (key: K) => boolean
  /** Adds the key when its time has come; of several times the earliest counts. */
  readonly addAfter: (key: K, ms: number) => boolean
  /** Adds the key after a back-off that doubles until it is forgotten. */
  readonly addRateLimited: (key: K) => boolean
  /** Ends the key's back-off; where the key waits, it goes on waiting. */
  readonly forget: (key: K) => void
  /**
   * Works on keys until the signal aborts, and resolves when no work is under way any more. What was interrupted, or
   * still waits, is there for the next run.
   */
  readonly run: (worker: Worker<K>, signal: AbortSignal) => Promise<void>
  /** Forgets all keys but those being worked on. */
  readonly clear: () => void
  /** Keys that wait for a worker or are with one, and keys that wait for their time; one of both counts twice. */
  readonly size: () => number
  readonly status: () => QueueFigures
  /**
   * For how long, within this run, the oldest key has waited for a worker or been worked on, in milliseconds; 0 when
   * nothing runs. Liveness: it grows without end where workers are stuck.
   */
  readonly oldestAgeMs: () => number
}

/** client-go's defaults, but for the longest wait, which is 1,000 s there: a dead run should not wait longer. */
const DEFAULTS = {
  baseDelayMs: 200,
  maxDelayMs: 300_000,
  overall: { perSecond: 10, burst: 100 },
} as const

/** From 15 MB when full to 75 MB where all wait for their time, each with its timer (measured on Node 24). */
const MAX_KEYS = 100_000

/** Everything a queue is made of. */
interface Parts<K extends string> {
  readonly name: string
  readonly concurrency: number
  readonly maxKeys: number
  readonly onError: (failure: Failure<K>) => void
  readonly clock: Pick<Clock, 'monotonic' | 'after' | 'soon'>
  readonly keys: Keys<K>
  readonly delays: Delays<K>
  readonly limit: RetryLimit<K>
  readonly metrics: QueueMetrics
  term: Term<K> | undefined
  isPumping: boolean
}

/** One run, from its start to the end of the last work. */
interface Term<K> {
  readonly worker: Worker<K>
  readonly signal: AbortSignal
  readonly startedAt: number
  readonly ended: PromiseWithResolvers<void>
}

export function createWorkQueue<K extends string>(options: WorkQueueOptions<K>): WorkQueue<K> {
  const parts = assemble(options)
  const { keys, delays, limit } = parts
  return {
    add: key => admit(parts, key, () => add(parts, key)),
    addAfter: (key, ms) => admit(parts, key, () => addAfter(parts, key, duration(ms))),
    addRateLimited: key => admit(parts, key, () => addAfter(parts, key, limit.failed(key))),
    forget: limit.forget,
    run: (worker, signal) => run(parts, worker, signal),
    clear: () => {
      keys.clear()
      delays.clear()
      limit.clear()
    },
    size: () => sizeOf(parts),
    status: () => figuresOf(parts),
    oldestAgeMs: () => oldestAgeOf(parts),
  }
}

function assemble<K extends string>(options: WorkQueueOptions<K>): Parts<K> {
  const { clock = systemClock, measure = measureNothing } = options
  const parts: Parts<K> = {
    name: options.name,
    concurrency: options.concurrency,
    maxKeys: options.maxKeys ?? MAX_KEYS,
    onError: options.onError ?? (() => {}),
    clock,
    keys: createKeys(clock.monotonic),
    delays: createDelays(clock, key => add(parts, key)),
    limit: createRetryLimit({ ...DEFAULTS, ...options, now: clock.monotonic }),
    metrics: measure(options.name, () => figuresOf(parts)),
    term: undefined,
    isPumping: false,
  }
  return parts
}

/** Lets a key in, or turns it away; what is known already costs no room. */
function admit<K extends string>(parts: Parts<K>, key: K, enter: () => void): boolean {
  const { keys, delays, maxKeys, metrics } = parts
  if (!keys.has(key) && !delays.has(key) && sizeOf(parts) >= maxKeys) {
    metrics.refused()
    return false
  }
  enter()
  return true
}

function add<K extends string>(parts: Parts<K>, key: K): void {
  if (parts.keys.add(key)) parts.metrics.added()
  pumpSoon(parts)
}

function addAfter<K extends string>(parts: Parts<K>, key: K, ms: number): void {
  parts.metrics.retried()
  if (ms > 0) parts.delays.add(key, ms)
  else add(parts, key)
}

/**
 * Hands keys to workers, never within the call that added one: whoever adds must not be held up. Between two keys
 * of a worker the event loop turns once, so that a long queue of quick keys holds up nobody else's requests.
 */
function pumpSoon<K extends string>(parts: Parts<K>): void {
  if (parts.isPumping) return
  parts.isPumping = true
  parts.clock.soon(() => {
    parts.isPumping = false
    pump(parts)
  })
}

function pump<K extends string>(parts: Parts<K>): void {
  const { term, keys, concurrency } = parts
  if (!term) return
  if (term.signal.aborted) return endWhenIdle(parts, term)
  while (keys.running() < concurrency) {
    const taken = keys.take()
    if (!taken) return
    work(parts, term, taken).catch(term.ended.reject)
  }
}

async function work<K extends string>(parts: Parts<K>, term: Term<K>, taken: Taken<K>): Promise<void> {
  const { keys, metrics } = parts
  const { key } = taken
  metrics.started(taken.waitedMs)
  const outcome = await outcomeOf(() => term.worker(key, term.signal))
  metrics.finished(keys.done(taken))
  pumpSoon(parts)
  if (outcome.kind === 'failed') return putBack(parts, term, { key, ...outcome })
  parts.limit.forget(key)
  if (outcome.afterMs !== undefined) addAfter(parts, key, outcome.afterMs)
}

/** What failed because it was interrupted has not failed: it waits for the next run. */
function putBack<K extends string>(
  parts: Parts<K>,
  { signal }: Term<K>,
  { key, error, retryAfterMs }: { readonly key: K } & Failed,
): void {
  if (signal.aborted) return add(parts, key)
  const retryInMs = retryAfterMs === undefined ? parts.limit.failed(key) : parts.limit.told(retryAfterMs)
  addAfter(parts, key, retryInMs)
  parts.onError({ key, error, retryInMs })
}

async function run<K extends string>(parts: Parts<K>, worker: Worker<K>, signal: AbortSignal): Promise<void> {
  if (parts.term) throw new Error(`the work queue ${parts.name} runs already: end that run first`)
  const startedAt = parts.clock.monotonic()
  const term: Term<K> = { worker, signal, startedAt, ended: Promise.withResolvers() }
  parts.term = term
  const onAbort = (): void => {
    endWhenIdle(parts, term)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  pumpSoon(parts)
  try {
    await term.ended.promise
  } finally {
    signal.removeEventListener('abort', onAbort)
    parts.term = undefined
  }
}

function endWhenIdle<K extends string>({ keys }: Parts<K>, term: Term<K>): void {
  if (keys.running() === 0) term.ended.resolve()
}

const sizeOf = <K extends string>({ keys, delays }: Parts<K>): number => keys.size() + delays.size()

function oldestAgeOf<K extends string>({ term, keys, clock }: Parts<K>): number {
  if (!term) return 0
  const wait = Math.min(longest(keys.waits()), clock.monotonic() - term.startedAt)
  return Math.max(wait, longest(keys.works()))
}

function figuresOf<K extends string>({ keys, delays, limit }: Parts<K>): QueueFigures {
  const works = keys.works()
  return {
    ready: keys.waiting(),
    delayed: delays.size(),
    running: keys.running(),
    failing: limit.size(),
    oldestReadyMs: longest(keys.waits()),
    longestRunningMs: longest(works),
    unfinishedMs: works.reduce((sum, ms) => sum + ms, 0),
  }
}

const longest = (times: readonly number[]): number => times.reduce((most, ms) => Math.max(most, ms), 0)
