import type { Case } from './case.ts'
import type { Evidence, Unknown } from './evidence.ts'
import type { Need } from './facts.ts'
import type { Ask, JobReference, Nothing, Report, Requeue } from './verdict.ts'

/** After a read that failed; the work queue's own back-off comes on top. */
const RETRY_MS = 5000

/** Clocks are not exact: a shorter wait would only ask twice. */
const SHORTEST_MS = 1000

const UNKNOWN = {
  flowRun: 'FlowRunUnknown',
  cluster: 'JobsUnknown',
  nodes: 'NodesUnknown',
  events: 'EventsUnknown',
  states: 'StateHistoryUnknown',
  namedJob: 'NamedJobUnknown',
  heartbeat: 'HeartbeatUnknown',
} as const satisfies Readonly<Record<Need, string>>

/** Leave the run alone. */
export const nothing = (reason: string): Nothing => ({ kind: 'nothing', reason })

/** Look again when waiting has helped. */
export const requeue = (reason: string, afterMs = RETRY_MS): Requeue => ({
  kind: 'requeue',
  reason,
  afterMs: Math.max(afterMs, SHORTEST_MS),
})

/** Look again when the wait is over; no answer where it is over already. */
export const untilOver = (leftMs: number, reason: string): Requeue | undefined =>
  leftMs > 0 ? requeue(reason, leftMs) : undefined

/** Asks for a fact that is not there yet; where its read failed it is *unknown*, and nothing is decided. */
export const missing = (need: Need, evidence: Unknown | undefined): Ask | Requeue =>
  evidence ? requeue(UNKNOWN[need]) : { kind: 'ask', reason: 'FactIsMissing', need }

/** Asks for a fact once, where it would help but is not indispensable. */
export const askOnce = (need: Need, evidence: Evidence<unknown> | undefined): Ask | undefined =>
  evidence ? undefined : { kind: 'ask', reason: 'FactIsMissing', need }

/** Say what is wrong and what would be done. */
export const report = (
  { finding, newest }: Pick<Case, 'finding' | 'newest'>,
  { reason, would, afterMs }: Pick<Report, 'reason' | 'would' | 'afterMs'>,
): Report => ({
  kind: 'report',
  reason,
  would,
  diagnosis: finding.diagnosis,
  ...jobReferenceOf(newest),
  ...(afterMs !== undefined && { afterMs: Math.max(afterMs, SHORTEST_MS) }),
})

/** The Job a verdict rests on. */
export function jobReferenceOf(newest: Case['newest']): { job?: JobReference } {
  if (!newest) return {}
  const { namespace, name, uid } = newest.job.metadata
  return { job: { namespace, name, uid } }
}
