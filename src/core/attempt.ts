import type { RunCase } from './case.ts'
import type { Unknown } from './evidence.ts'
import type { JobFact } from './facts.ts'
import type { FlowRun, State } from './flow-run.ts'
import type { Instant } from './objects.ts'

/**
 * Whether the newest Job belongs to the run's current attempt. A run keeps its id over attempts, each pickup by a
 * worker makes a new Job, and old Jobs stay: a dead one may say nothing about the attempt that is on its way.
 */
export type Attempt =
  | { readonly kind: 'current'; readonly startedAt?: Instant }
  /** The attempt began after the newest Job: its own Job is still to come. */
  | { readonly kind: 'jobToCome'; readonly startedAt: Instant }
  /** Too close together to tell. */
  | { readonly kind: 'closeCall'; readonly startedAt: Instant }
  /** The state history would tell. */
  | { readonly kind: 'unknown'; readonly evidence: Unknown | undefined }

/**
 * Which attempt the newest Job belongs to.
 *
 * Only a Pending run can be between a pickup and its Job: whatever is Running was started by a Job that existed
 * before, so the Jobs, read *after* the run, hold it. An attempt starts at a move from Scheduled to Pending. With
 * one start only, no earlier attempt can have made the Job, whatever the clocks say.
 */
export function attemptOf(facts: RunCase): Attempt {
  const { states } = facts.facts
  if (facts.run.state.type !== 'PENDING' || !facts.newest) return { kind: 'current' }
  if (!states?.known) return { kind: 'unknown', evidence: states }
  const starts = attemptStarts(states.value)
  const [, startedAt] = starts.slice(-2)
  if (startedAt === undefined) return { kind: 'current' }
  const isCounted = everyStartHasItsJob(facts, facts.newest, starts)
  const lead = facts.newest.job.metadata.creationTimestamp - startedAt
  return { kind: kindOf(isCounted, lead, facts.settings.clockTolerance), startedAt }
}

/** When each attempt was taken up by a worker: the moves from Scheduled to Pending, oldest first. */
const attemptStarts = (states: readonly State[]): readonly Instant[] =>
  states
    .filter((state, index) => state.type === 'PENDING' && states[index - 1]?.type === 'SCHEDULED')
    .map(state => state.timestamp)

/** Whether `infrastructure_pid` (`<namespace>:<job name>`, prefect-kubernetes 0.8.0) names this Job. */
export const isNamedBy = (run: FlowRun, { job }: JobFact): boolean =>
  run.infrastructurePid === `${job.metadata.namespace}:${job.metadata.name}`

/**
 * With as many Jobs as starts and the newest one named by `infrastructure_pid`, each start has its own. That is
 * no proof against the clocks: a worker whose request timed out may have made two Jobs for one start.
 */
function everyStartHasItsJob({ run, jobs }: RunCase, newest: JobFact, starts: readonly Instant[]): boolean {
  const uids = new Set(jobs.map(({ job }) => job.metadata.uid))
  return uids.size >= starts.length && isNamedBy(run, newest)
}

/** By how much the newest Job follows the last start; where that is too close to tell, counting may. */
function kindOf(isCounted: boolean, lead: number, tolerance: number): 'current' | 'closeCall' | 'jobToCome' {
  if (lead > tolerance || (isCounted && lead >= -tolerance)) return 'current'
  return isCounted || lead >= -tolerance ? 'closeCall' : 'jobToCome'
}
