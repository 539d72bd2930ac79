import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'

import { isInProcess, isInProcessRetry, type FlowRun } from '../core/flow-run.ts'
import type { Clock } from './clock.ts'
import type { ObserverMetrics } from './metrics.ts'

export interface OrphanScanDeps {
  /** Prefect's live subflow runs, page by page; at most `limit`. */
  readonly liveSubflowRuns: (which: { readonly limit: number }, signal: AbortSignal) => AsyncIterable<FlowRun>
  /** Whether the watches, which must have synced, know a Job or pod that may still move the run. */
  readonly isKnown: (flowRunId: string) => boolean
  /** Has the rules look at the run; they read everything anew. */
  readonly enqueue: (flowRunId: string) => void
  /** Work pools whose Jobs can only be in this cluster. */
  readonly workPools: readonly string[]
  /** A run in a younger state may have its Job in a moment, in milliseconds. */
  readonly youngMs: number
  /** From one scan to the next, give or take a fifth, in milliseconds. */
  readonly everyMs: number
  readonly logger: Logger
  readonly metrics: Pick<ObserverMetrics, 'scanned' | 'orphans'>
  readonly clock: Clock
}

export interface OrphanScan {
  /** One comparison; returns how many orphans there are. Rejects when Prefect could not be asked. */
  readonly scan: (signal: AbortSignal) => Promise<number>
  /** Compares now and ever again until the signal aborts. */
  readonly run: (signal: AbortSignal) => Promise<void>
}

/** So that replicas and clusters that share a Prefect do not ask in step. */
const JITTER = 0.2

/** 200 requests of 50 runs each: the better part of a minute's requests at 300 a minute. */
const MOST_RUNS = 10_000

/** Orphans that were told of; about 2 MB when full. */
const TOLD = 10_000

/**
 * Looks for runs that Prefect believes alive and that nothing in the cluster can move any more: their objects went
 * away while nobody watched. It finds and counts them; what that means, the rules decide, for a Prefect workspace
 * may serve several clusters.
 */
export function createOrphanScan(deps: OrphanScanDeps): OrphanScan {
  /** Which state of a run was told of. */
  const told = new LRUCache<string, string>({ max: TOLD })
  const scan = (signal: AbortSignal): Promise<number> => scanOnce(deps, told, signal)
  return { scan, run: signal => scanNowAndThen(deps, scan, signal) }
}

async function scanNowAndThen(
  { everyMs, logger, metrics, clock }: OrphanScanDeps,
  scan: OrphanScan['scan'],
  signal: AbortSignal,
): Promise<void> {
  const failed = (err: unknown): void => {
    if (signal.aborted) return
    metrics.scanned('failed')
    logger.warn({ err }, 'could not look for orphaned flow runs, will try again')
  }
  while (!signal.aborted) {
    // oxlint-disable-next-line no-await-in-loop -- one scan after the other
    await scan(signal).catch(failed)
    // oxlint-disable-next-line no-await-in-loop -- as above; it rejects only when the signal aborts
    await clock.sleep(everyMs * (1 + JITTER * (2 * clock.random() - 1)), signal).catch(() => {})
  }
}

async function scanOnce(
  deps: OrphanScanDeps,
  told: LRUCache<string, string>,
  signal: AbortSignal,
): Promise<number> {
  const { liveSubflowRuns, logger, metrics } = deps
  const byWorkPool = new Map(deps.workPools.map(workPool => [workPool, 0]))
  let seen = 0
  let orphans = 0
  for await (const run of liveSubflowRuns({ limit: MOST_RUNS }, signal)) {
    signal.throwIfAborted()
    seen += 1
    if (!isOrphan(run, deps)) continue
    orphans += 1
    const workPool = run.workPoolName ?? ''
    byWorkPool.set(workPool, (byWorkPool.get(workPool) ?? 0) + 1)
    follow(run, deps, told)
  }
  metrics.orphans(byWorkPool)
  const isComplete = seen < MOST_RUNS
  metrics.scanned(isComplete ? 'complete' : 'truncated')
  if (!isComplete)
    logger.warn({ limit: MOST_RUNS }, 'too many live subflow runs to look for orphans among all')
  return orphans
}

/** A run that something here may move, or that needs nothing here yet or any more, is none. */
const isOrphan = (run: FlowRun, { isKnown, youngMs, clock }: OrphanScanDeps): boolean =>
  !isInProcess(run) &&
  (run.state.type !== 'SCHEDULED' || isInProcessRetry(run)) &&
  run.state.timestamp + youngMs <= clock.now() &&
  !isKnown(run.id)

/**
 * An orphan of a work pool that is ours is looked at after every scan; any other can only be reported, so it is
 * looked at once per state: it is probably alive in another cluster, and there may be thousands. Nothing is missed by
 * that: a new state, Job or pod is looked at whatever was told before, waits go on in the queue, and without any of
 * these absence proves no more tomorrow than it does today.
 */
function follow(
  run: FlowRun,
  { enqueue, workPools, logger }: OrphanScanDeps,
  told: LRUCache<string, string>,
): void {
  const { id: flowRunId, workPoolName: workPool, state } = run
  const isOwned = workPool !== undefined && workPools.includes(workPool)
  if (!told.has(flowRunId))
    logger.info(
      { flowRunId, workPool, state: state.name },
      'found a live flow run that no Job or pod here can move',
    )
  if (isOwned || told.get(flowRunId) !== state.id) enqueue(flowRunId)
  told.set(flowRunId, state.id)
}
