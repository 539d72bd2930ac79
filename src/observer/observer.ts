import { LRUCache } from 'lru-cache'
import { known } from '../core/evidence.ts'
import { lifeOf } from '../core/life.ts'
import { FLOW_RUN_ID_LABEL, isUuid } from '../core/names.ts'
import type { Job, Pod } from '../core/objects.ts'
import type { Change } from './change.ts'
import type { ObserverDeps } from './deps.ts'
import { createWorkQueue } from './queue/queue.ts'
import type { WorkQueue } from './queue/queue.ts'
import type { Seen } from './reads.ts'
import type { ReconcileDeps } from './reconcile.ts'
import { reconcile } from './reconcile.ts'
import type { Tombstones } from './tombstones.ts'
import { createTombstones } from './tombstones.ts'
import { createReconcileDeps } from './wiring.ts'

/** Watches over flow runs: whatever changes, the run is looked at as a whole. */
export interface Observer {
  /** For the watches; they only put keys into the queue. */
  readonly jobChanged: (change: Change<Job>) => void
  readonly podChanged: (change: Change<Pod>) => void
  /** Whether anything that the watch holds may still move the run. */
  readonly isAlive: (flowRunId: string) => boolean
  /** Looks at a run anew, whatever is known of it. */
  readonly lookAt: (flowRunId: string) => void
  /** Works until the signal aborts, beginning with every run there is: a new leader trusts no predecessor. */
  readonly lead: (signal: AbortSignal) => Promise<void>
  /** For how long the oldest key has waited for work or been worked on, in milliseconds. */
  readonly oldestAgeMs: () => number
}

/** As many as Prefect is asked about in one request. */
const CONCURRENCY = 50

/** Our own repetitions; Prefect's rate limit and the API server's fairness are guarded where they are spoken to. */
const OVERALL = { perSecond: 50, burst: 500 } as const

const HOUR_MS = 3_600_000

/** Flow runs whose death, or last objects, are kept in mind; some 50 MB when full. */
const REMEMBERED = 50_000

export function createObserver(deps: ObserverDeps): Observer {
  const { clock, metrics } = deps
  const tombstones = createTombstones({ capacity: REMEMBERED, ttlMs: HOUR_MS, now: clock.now })
  const queue = createRunQueue(deps)
  const seen = createSeen(deps, tombstones)
  const settled = new LRUCache<string, string>({ max: REMEMBERED })
  const workDeps = createReconcileDeps(deps, { seen, settled })
  let isLeading = false
  const enqueue = (object: Job | Pod): void => {
    const flowRunId = isLeading ? flowRunIdOf(object) : undefined
    if (flowRunId !== undefined) queue.add(flowRunId)
  }
  return {
    jobChanged: change => {
      tombstones.jobChanged(change)
      enqueue(change.object)
    },
    podChanged: change => {
      tombstones.podChanged(change)
      enqueue(change.object)
    },
    isAlive: flowRunId => isAlive(seen(flowRunId), clock.now()),
    lookAt: flowRunId => {
      settled.delete(flowRunId)
      queue.add(flowRunId)
    },
    lead: async signal => {
      isLeading = true
      for (const object of [...deps.jobs().list(), ...deps.pods().list()]) enqueue(object)
      try {
        await queue.run(flowRunId => measured(flowRunId, workDeps, { metrics, clock, signal }), signal)
      } finally {
        isLeading = false
        queue.clear()
      }
    },
    oldestAgeMs: queue.oldestAgeMs,
  }
}

const createRunQueue = ({ metrics, clock, logger }: ObserverDeps): WorkQueue<string> =>
  createWorkQueue<string>({
    name: 'flow-runs',
    concurrency: CONCURRENCY,
    overall: OVERALL,
    measure: metrics.queue,
    clock,
    onError: ({ key: flowRunId, error: err, retryInMs }) => {
      logger.warn({ flowRunId, err, retryInMs }, 'could not look at a flow run, will try again')
    },
  })

/** What the watch holds, and what it held before that went away. */
const createSeen =
  ({ jobs, pods }: ObserverDeps, tombstones: Tombstones) =>
  (flowRunId: string): Seen => ({
    jobs: [
      ...jobs()
        .byIndex(flowRunId)
        .map(job => ({ job })),
      ...tombstones.jobsOf(flowRunId),
    ],
    pods: [
      ...pods()
        .byIndex(flowRunId)
        .map(pod => ({ pod })),
      ...tombstones.podsOf(flowRunId),
    ],
  })

/** A label that is no UUID names no flow run; Prefect would refuse a whole batch because of it. */
function flowRunIdOf({ metadata }: Job | Pod): string | undefined {
  const flowRunId = metadata.labels[FLOW_RUN_ID_LABEL]
  return isUuid(flowRunId) ? flowRunId : undefined
}

const isAlive = ({ jobs, pods }: Seen, now: number): boolean =>
  lifeOf({ jobs: known(jobs), pods: known(pods), now }).kind !== 'dead'

async function measured(
  flowRunId: string,
  deps: ReconcileDeps,
  { metrics, clock, signal }: Pick<ObserverDeps, 'metrics' | 'clock'> & { signal: AbortSignal },
): Promise<{ afterMs?: number }> {
  const began = clock.monotonic()
  const took = (): number => (clock.monotonic() - began) / 1000
  try {
    const acted = await reconcile(flowRunId, deps, signal)
    metrics.reconciled(acted.afterMs === undefined ? 'success' : 'requeue_after', took())
    return acted
  } catch (error) {
    metrics.reconciled('error', took())
    throw error
  }
}
