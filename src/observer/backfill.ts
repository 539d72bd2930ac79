import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'

import {
  FINALIZER_FREE_ANNOTATION,
  FLOW_RUN_ID_LABEL,
  isUuid,
  PARENT_TASK_RUN_ID_LABEL,
} from '../core/names.ts'
import type { ObjectMeta } from '../core/objects.ts'
import type { ParentOf } from '../core/parent.ts'
import type { Change } from './change.ts'
import type { Clock } from './clock.ts'
import type { BackfillOutcome, ObserverMetrics } from './metrics.ts'
import { createWorkQueue, type WorkQueue } from './queue/queue.ts'
import type { WorkResult } from './queue/work.ts'

/** A Job or pod of which only the metadata is known. */
export interface Meta {
  readonly metadata: ObjectMeta
}

/** Objects with a flow run and without a parent label, as a watch of `prefect.io/flow-run-id,!prefect.io/parent-task-run-id` has them. */
interface Unlabelled {
  readonly list: () => Iterable<Meta>
  /** By the value of `prefect.io/flow-run-id`. */
  readonly byIndex: (flowRunId: string) => readonly Meta[]
}

/** What is added to an object; nothing is ever taken away or overwritten. */
export interface Addition {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export type AddTo = (
  object: Meta,
  addition: Addition,
  signal: AbortSignal,
) => Promise<'applied' | 'unchanged' | 'gone' | 'conflict'>

export interface BackfillDeps {
  readonly jobs: Unlabelled
  readonly pods: Unlabelled
  /** Batched and cached; rejects when Prefect could not be asked. */
  readonly parentOf: ParentOf
  readonly addToJob: AddTo
  readonly addToPod: AddTo
  readonly logger: Logger
  readonly metrics: Pick<ObserverMetrics, 'queue' | 'backfilled'>
  readonly clock: Clock
}

/** Gives Jobs and pods that admission missed their label and annotation. */
export interface Backfill {
  /** For the watches: an unlabelled Job or pod came or changed. */
  readonly changed: (change: Change<Meta>) => void
  /** Works until the signal aborts, beginning with everything there is; call it once the watches have synced. */
  readonly run: (signal: AbortSignal) => Promise<void>
}

/** As many as Prefect is asked for in one request, so that those of a burst travel together. */
const CONCURRENCY = 50

/** Runs that need nothing, so that each change of their pods costs one look-up in memory; about 5 MB when full. */
const LEFT_ALONE = 50_000

/** A run may be created after we asked, and foreign Jobs may belong to another Prefect for ever. */
const UNKNOWN_RUN_MS = 10 * 60_000

/** A conflict means that the object has just changed: the watch will bring that in a moment. */
const CONFLICT_MS = 1000

/** Everything the backfill is made of. */
interface Parts {
  readonly deps: BackfillDeps
  readonly queue: WorkQueue<string>
  /** Flow runs whose objects need nothing, and why. */
  readonly leftAlone: LRUCache<string, Unneeded>
}

type Unneeded = Extract<BackfillOutcome, 'topLevel' | 'notFound' | 'noUuid'>

interface Missed {
  readonly kind: 'Job' | 'Pod'
  readonly object: Meta
  readonly addTo: AddTo
}

/**
 * The queue holds flow runs, not objects: a run is looked up once for its Job and all its pods, a refused look-up
 * backs off once, and what is to be done is read from the watch when it is done, so that nothing is kept of objects
 * that went away meanwhile.
 *
 * A Job's template cannot be changed (`spec.template` is immutable), so that pods made later by the same Job miss
 * the label again unless admission gives it to them; then they turn up here.
 */
export function createBackfill(deps: BackfillDeps): Backfill {
  const { jobs, pods, logger, metrics, clock } = deps
  const queue = createWorkQueue<string>({
    name: 'backfill',
    concurrency: CONCURRENCY,
    measure: metrics.queue,
    clock,
    onError: ({ key: flowRunId, error: err, retryInMs }) => {
      logger.warn({ flowRunId, err, retryInMs }, 'could not label what admission missed, will try again')
    },
  })
  const leftAlone = new LRUCache<string, Unneeded>({
    max: LEFT_ALONE,
    perf: { now: clock.monotonic },
    ttlResolution: 0,
  })
  const parts = { deps, queue, leftAlone }
  let isRunning = false
  return {
    changed: ({ type, object }) => {
      if (isRunning && type !== 'deleted') enqueue(parts, object)
    },
    run: async signal => {
      isRunning = true
      for (const object of [...jobs.list(), ...pods.list()]) enqueue(parts, object)
      try {
        await queue.run((flowRunId, stop) => backfill(parts, flowRunId, stop), signal)
      } finally {
        isRunning = false
        queue.clear()
      }
    },
  }
}

function enqueue({ queue, leftAlone }: Parts, { metadata }: Meta): void {
  const flowRunId = metadata.labels[FLOW_RUN_ID_LABEL]
  if (flowRunId !== undefined && !leftAlone.has(flowRunId)) queue.add(flowRunId)
}

async function backfill(
  parts: Parts,
  flowRunId: string,
  signal: AbortSignal,
): Promise<WorkResult | undefined> {
  const missed = missedOf(parts.deps, flowRunId)
  if (missed.length === 0) return undefined
  if (!isUuid(flowRunId)) return leaveAlone(parts, { flowRunId, missed, outcome: 'noUuid' })
  const parent = await parts.deps.parentOf(flowRunId, signal)
  if (parent.kind !== 'subflow') return leaveAlone(parts, { flowRunId, missed, outcome: parent.kind })
  const addition = {
    labels: { [PARENT_TASK_RUN_ID_LABEL]: parent.parentTaskRunId },
    annotations: { [FINALIZER_FREE_ANNOTATION]: 'true' },
  }
  const outcomes = await addToEach(parts.deps, { flowRunId, missed, addition }, signal)
  return outcomes.includes('conflict') ? { afterMs: CONFLICT_MS } : undefined
}

const missedOf = ({ jobs, pods, addToJob, addToPod }: BackfillDeps, flowRunId: string): readonly Missed[] => [
  ...jobs.byIndex(flowRunId).map(object => ({ kind: 'Job', object, addTo: addToJob }) as const),
  ...pods.byIndex(flowRunId).map(object => ({ kind: 'Pod', object, addTo: addToPod }) as const),
]

function leaveAlone(
  { deps: { logger, metrics }, leftAlone }: Parts,
  { flowRunId, missed, outcome }: { flowRunId: string; missed: readonly Missed[]; outcome: Unneeded },
): undefined {
  leftAlone.set(flowRunId, outcome, { ttl: outcome === 'notFound' ? UNKNOWN_RUN_MS : 0 })
  for (const { kind } of missed) metrics.backfilled(kind, outcome)
  if (outcome !== 'noUuid') return
  const objects = missed.map(
    ({ kind, object: { metadata } }) => `${kind} ${metadata.namespace}/${metadata.name}`,
  )
  logger.warn({ flowRunId, objects }, `left objects alone whose label ${FLOW_RUN_ID_LABEL} is no UUID`)
}

interface Task {
  readonly flowRunId: string
  readonly missed: readonly Missed[]
  readonly addition: Addition
}

/** One after the other: a run has few objects, and one with thousands must not fill the line. */
async function addToEach(
  { logger, metrics }: BackfillDeps,
  { flowRunId, missed, addition }: Task,
  signal: AbortSignal,
): Promise<readonly BackfillOutcome[]> {
  const outcomes: BackfillOutcome[] = []
  const errors: unknown[] = []
  for (const { kind, object, addTo } of missed) {
    const { namespace, name } = object.metadata
    try {
      // oxlint-disable-next-line no-await-in-loop -- one after the other
      const outcome = await addTo(object, addition, signal)
      metrics.backfilled(kind, outcome)
      outcomes.push(outcome)
      const level = outcome === 'applied' ? 'info' : 'debug'
      logger[level](
        { flowRunId, kind, namespace, name, outcome },
        'labelling an object that admission missed',
      )
    } catch (cause) {
      signal.throwIfAborted()
      metrics.backfilled(kind, 'failed')
      errors.push(cause)
    }
  }
  if (errors.length > 0) throw errors[0]
  return outcomes
}
