import type { Access } from '../http/access.ts'
import { systemClock, type Clock } from '../clock.ts'
import { createElector, type Attempt, type Elector } from './elector.ts'
import type { Trouble } from '../watch/feed.ts'
import { createLeaseStore, type LeaseStore } from './lease.ts'
import type { KubernetesMetrics } from '../metrics.ts'

export interface LeadershipOptions {
  readonly access: Pick<Access, 'request'>
  readonly namespace: string
  /** Of the Lease. */
  readonly name: string
  /** Unlike that of every other process, also of an earlier one of the same pod. */
  readonly identity: string
  /**
   * The leader's work, until the signal aborts: because the lease is lost, or the process stops. In the second case
   * the lease is kept until the work has settled, and released then.
   */
  readonly onStartedLeading: (signal: AbortSignal) => Promise<void>
  readonly onStoppedLeading?: () => void
  readonly onNewLeader?: (identity: string) => void
  readonly report?: (trouble: Trouble) => void
  readonly metrics?: Pick<KubernetesMetrics, 'leader'>
  readonly clock?: Clock
  readonly timings?: Partial<LeaseTimings>
  /** For a test of what no apiserver can be made to do. */
  readonly store?: LeaseStore
}

export interface Leadership {
  /**
   * Whether this process may act as the leader at this moment. Becomes false by itself when the renewal is overdue,
   * even while the event loop is blocked or the VM sleeps: ask right before each write.
   */
  readonly isLeader: () => boolean
  /** Contends until the signal aborts, and again after each loss. Settles when the work has, and the lease is released. */
  readonly run: (signal: AbortSignal) => Promise<void>
}

export interface LeaseTimings {
  /** What the lease says: after so long without a renewal others may take it. */
  readonly leaseDurationMs: number
  /** After so long without a renewal the holder stops by itself. */
  readonly renewDeadlineMs: number
  readonly retryPeriodMs: number
}

/** client-go's numbers: the holder stops 5 s before the others may take over. */
const LEASE_TIMINGS: LeaseTimings = { leaseDurationMs: 15_000, renewDeadlineMs: 10_000, retryPeriodMs: 2_000 }

/** Between two attempts to get a lease, so that contenders do not keep step. Source: client-go, `JitterFactor`. */
const JITTER = 1.2

interface Contest {
  readonly options: LeadershipOptions
  readonly elector: Elector
  readonly clock: Clock
  readonly timings: LeaseTimings
  readonly report: (trouble: Trouble) => void
  /** Set and unset around the work. */
  leading: boolean
}

/** One of several replicas leads; the others wait for the lease to be released or to run out. */
export function createLeadership(options: LeadershipOptions): Leadership {
  const contest = createContest(options)
  return {
    isLeader: () => contest.leading && isFresh(contest),
    run: async signal => {
      while (!signal.aborted) {
        // oxlint-disable-next-line no-await-in-loop -- one term after the other
        if (await acquire(contest, signal)) await lead(contest, signal)
      }
    },
  }
}

function createContest(options: LeadershipOptions): Contest {
  const { access, namespace, name, identity, onNewLeader = () => {} } = options
  const { clock = systemClock, report = () => {} } = options
  const timings = { ...LEASE_TIMINGS, ...options.timings }
  const store = options.store ?? createLeaseStore(access, { namespace, name }, timings.renewDeadlineMs / 3)
  options.metrics?.leader(name, false)
  const elector = createElector({ ...timings, store, identity, clock, onNewLeader })
  return { options, clock, elector, timings, report, leading: false }
}

const isFresh = ({ elector, timings }: Contest): boolean => elector.sinceRenewal() < timings.renewDeadlineMs

/** One attempt, and a wait where it brought nothing. */
async function acquire(contest: Contest, signal: AbortSignal): Promise<boolean> {
  const { clock, timings } = contest
  if ((await attempt(contest)) === 'ours') return true
  await clock.sleep(timings.retryPeriodMs * (1 + JITTER * clock.random()), signal).catch(() => {})
  return false
}

/** Never throws: what failed is told and tried again. Goes on while the process stops, to keep the lease until then. */
async function attempt({ elector, options, timings, report }: Contest): Promise<Attempt | 'failed'> {
  try {
    // A request that hangs is given up after a third of this, which leaves time for others.
    return await elector.attempt(AbortSignal.timeout(timings.renewDeadlineMs))
  } catch (error) {
    report({ what: `the lease ${options.namespace}/${options.name} could not be read or written`, error })
    return 'failed'
  }
}

async function lead(contest: Contest, signal: AbortSignal): Promise<void> {
  const { options } = contest
  const work = new AbortController()
  const stop = (): void => {
    work.abort(signal.reason)
  }
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  contest.leading = true
  options.metrics?.leader(options.name, true)
  const done = workUntilDone(contest, work.signal)
  await keep(contest, done)
  contest.leading = false
  options.metrics?.leader(options.name, false)
  work.abort(new Error(`the lease ${options.namespace}/${options.name} was lost`))
  options.onStoppedLeading?.()
  await done.settled
  signal.removeEventListener('abort', stop)
  if (signal.aborted) await release(contest)
}

interface Done {
  /** Aborts when the work was told to stop and has. */
  readonly signal: AbortSignal
  readonly settled: Promise<void>
}

/** Work that fails by itself ends the term: the next one, ours or another replica's, begins anew. */
function workUntilDone({ options, report, clock, timings }: Contest, signal: AbortSignal): Done {
  const finished = new AbortController()
  const told = Promise.withResolvers<void>()
  signal.addEventListener('abort', () => told.resolve(), { once: true })
  if (signal.aborted) told.resolve()
  const work = options.onStartedLeading(signal).catch(async (error: unknown) => {
    if (signal.aborted) return
    report({ what: 'the work of the leader failed', error })
    await clock.sleep(timings.retryPeriodMs, signal).catch(() => {})
    told.resolve()
  })
  const settle = async (): Promise<void> => {
    await Promise.all([work, told.promise])
    finished.abort()
  }
  return { signal: finished.signal, settled: settle() }
}

/** Renews until the lease is lost or the work is done. */
async function keep(contest: Contest, done: Done): Promise<void> {
  const { clock, timings } = contest
  let lost = false
  while (!lost && !done.signal.aborted) {
    // oxlint-disable-next-line no-await-in-loop -- one renewal after the other
    await clock.sleep(timings.retryPeriodMs, done.signal).catch(() => {})
    // oxlint-disable-next-line no-await-in-loop -- as above
    lost = !done.signal.aborted && (await renewalLost(contest))
  }
}

/** A renewal that failed is tried again until the deadline; one that finds another holder is the end. */
async function renewalLost(contest: Contest): Promise<boolean> {
  if (!isFresh(contest)) return true
  return (await attempt(contest)) === 'theirs' || !isFresh(contest)
}

async function release({ elector, options, timings, report }: Contest): Promise<void> {
  try {
    await elector.release(AbortSignal.timeout(timings.renewDeadlineMs / 2))
  } catch (error) {
    report({
      what: `the lease ${options.namespace}/${options.name} could not be released; it will run out`,
      error,
    })
  }
}
