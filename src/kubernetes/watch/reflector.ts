import type { Instant } from '../../core/objects.ts'
import type { Access } from '../http/access.ts'
import { createBackoff } from './backoff.ts'
import { systemClock, type Clock } from '../clock.ts'
import { compare, type Comparison } from './comparison.ts'
import { createFeed, type Feed, type Trouble } from './feed.ts'
import { createFollower, type Follower, type Outage, type Phase } from './follow.ts'
import { REFLECTOR_LIMITS, type ReflectorLimits } from './limits.ts'
import type { Scope } from '../list.ts'
import { noMetrics, type KubernetesMetrics } from '../metrics.ts'
import type { WatchMetrics } from './metrics.ts'
import type { Meta } from '../parse/metadata.ts'
import { createStore, type Change, type Store } from './store.ts'

export interface ReflectorOptions<T extends Meta> extends Scope {
  readonly access: Pick<Access, 'request' | 'stream'>
  /** The resource's plural, for metrics and status. */
  readonly resource: string
  readonly parse: (json: unknown) => T
  /** A second key under which objects are found, such as their flow run. */
  readonly index?: (object: T) => string | undefined
  /** Must do no more than enqueue: it runs between two lines of the stream. What it throws is caught and counted. */
  readonly onChange: (change: Change<T>) => void
  readonly report?: (trouble: Trouble) => void
  readonly metrics?: KubernetesMetrics
  readonly clock?: Clock
  readonly limits?: Partial<ReflectorLimits>
}

export interface ReflectorStatus {
  readonly resource: string
  readonly state: Phase
  readonly synced: boolean
  readonly objects: number
  readonly lastListAt?: Instant
  readonly lastEventAt?: Instant
  readonly lastBookmarkAt?: Instant
  /** When the server last showed that it is there, in any way: liveness is the age of this. */
  readonly lastProgressAt?: Instant
  /** Present while the watch is not up; a 403 here is what readiness must show. */
  readonly outage?: Outage
}

/**
 * A copy of some of the apiserver's objects, kept up to date by a watch: client-go's reflector and store. It lists
 * once, resumes after every interruption where it was, lists anew only where the server has forgotten that place, and
 * checks every few minutes that the watch has brought everything.
 */
export interface Reflector<T> {
  readonly start: () => void
  /** Final: once called, nothing is delivered any more; settles when nothing is under way. */
  readonly stop: () => Promise<void>
  readonly hasSynced: () => boolean
  /** Resolves after the first complete list, rejects when the signal aborts or the reflector is stopped. */
  readonly whenSynced: (signal: AbortSignal) => Promise<void>
  readonly list: () => Iterable<T>
  readonly get: (uid: string) => T | undefined
  readonly byIndex: (key: string) => readonly T[]
  readonly status: () => ReflectorStatus
  /** Runs by itself every few minutes; see {@link compare}. */
  readonly compare: (signal: AbortSignal) => Promise<Comparison>
}

/** Everything a running reflector is made of. */
interface Parts<T> {
  readonly store: Store<T>
  readonly feed: Feed
  readonly follower: Follower
  readonly compare: (signal: AbortSignal) => Promise<Comparison>
  readonly synced: PromiseWithResolvers<void> & { done: boolean }
  readonly stopping: AbortController
}

export function createReflector<T extends Meta>(options: ReflectorOptions<T>): Reflector<T> {
  const parts = assemble(options)
  const { store, follower, synced, stopping } = parts
  let running: readonly Promise<void>[] | undefined
  return {
    start: () => {
      if (!stopping.signal.aborted)
        running ??= [follower.run(stopping.signal), compareNowAndThen(options, parts)]
    },
    stop: async () => {
      const stopped = new Error(`the watch of ${options.path} was stopped`)
      stopping.abort(stopped)
      synced.reject(stopped)
      await Promise.all(running ?? [])
    },
    hasSynced: () => synced.done,
    whenSynced: signal => unlessAborted(synced.promise, signal),
    list: store.list,
    get: store.get,
    byIndex: store.byIndex,
    status: () => statusOf(options.resource, parts),
    compare: parts.compare,
  }
}

function assemble<T extends Meta>(options: ReflectorOptions<T>): Parts<T> {
  const { access, index = () => undefined, clock = systemClock, report = () => {} } = options
  const stopping = new AbortController()
  const synced = { ...Promise.withResolvers<void>(), done: false }
  synced.promise.catch(() => {})
  const limits = { ...REFLECTOR_LIMITS, ...options.limits }
  const store = createStore(index)
  const metrics = watchMetrics(options, () => ({ objects: store.size(), ...feed.figures() }), stopping.signal)
  const feed = createFeed({ ...options, store, report, metrics, clock, signal: stopping.signal })
  const common = { access, scope: options, feed, limits, metrics, report, clock }
  const onListed = (): void => {
    synced.done = true
    synced.resolve()
  }
  const follower = createFollower({ ...common, backoff: createBackoff(clock), onListed })
  const comparing = { ...common, store, follower }
  return { store, feed, follower, synced, stopping, compare: signal => compare(comparing, signal) }
}

function watchMetrics(
  { metrics = noMetrics, resource }: Pick<ReflectorOptions<Meta>, 'metrics' | 'resource'>,
  figures: Parameters<KubernetesMetrics['watch']>[1],
  signal: AbortSignal,
): WatchMetrics {
  const watch = metrics.watch(resource, figures)
  signal.addEventListener('abort', watch.end, { once: true })
  return watch
}

async function compareNowAndThen<T extends Meta>(
  options: ReflectorOptions<T>,
  parts: Parts<T>,
): Promise<void> {
  const { signal } = parts.stopping
  while (!signal.aborted) {
    // oxlint-disable-next-line no-await-in-loop -- one comparison after the other
    await compareLater(options, parts, signal)
  }
}

async function compareLater<T extends Meta>(
  { path, limits, clock = systemClock, report = () => {} }: ReflectorOptions<T>,
  parts: Parts<T>,
  signal: AbortSignal,
): Promise<void> {
  const [least, most] = limits?.compareMs ?? REFLECTOR_LIMITS.compareMs
  try {
    await clock.sleep(least + (most - least) * clock.random(), signal)
    await parts.compare(signal)
  } catch (error) {
    if (signal.aborted) return
    report({ what: `comparing ${path} with a list failed; the next comparison is due later`, error })
  }
}

function statusOf<T>(resource: string, { store, feed, follower, synced }: Parts<T>): ReflectorStatus {
  const times = Object.entries(feed.figures()).filter(
    ([name, value]) => name.startsWith('last') && value !== undefined,
  )
  const outage = follower.outage()
  return {
    resource,
    state: follower.phase(),
    synced: synced.done,
    objects: store.size(),
    ...Object.fromEntries(times),
    ...(outage && { outage }),
  }
}

async function unlessAborted(promise: Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted()
  const aborted = Promise.withResolvers<never>()
  const abort = (): void => {
    aborted.reject(signal.reason)
  }
  signal.addEventListener('abort', abort, { once: true })
  try {
    await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
