import type { Unknown } from './evidence.ts'
import { listed } from './evidence.ts'
import type { Facts, JobFact, PodFact } from './facts.ts'
import { SUSPENDED_BY_US_ANNOTATION } from './names.ts'
import type { Condition, ContainerStatus, Instant } from './objects.ts'
import type { Stranded } from './stranded.ts'
import { mayRun, overduePods, strandedOf } from './stranded.ts'

/** Whether Kubernetes has given up on a run, with the reason that decided it. */
export type Life =
  | Living
  | { readonly kind: 'unknown'; readonly reason: 'JobsUnknown' | 'PodsUnknown' }
  /** Pods are overdue, and the nodes that they are on were not read. */
  | { readonly kind: 'unknown'; readonly reason: 'NodesUnknown'; readonly nodes: Unknown | undefined }
  | Death

/** Something of the run may still move it. */
interface Living {
  readonly kind: 'alive'
  readonly reason: 'JobIsActive' | 'JobIsSuspended' | 'PodIsNotTerminal'
  /** The Jobs that have not ended. */
  readonly jobs: readonly JobFact[]
  /** The pods that may run, on nodes that serve them. */
  readonly pods: readonly PodFact[]
}

export interface Death {
  readonly kind: 'dead'
  readonly reason:
    'JobFailed' | 'JobComplete' | 'JobDeleted' | 'JobStopped' | 'JobLost' | 'PodWithoutJob' | 'NoTrace'
  /** When it happened, by Kubernetes' clock where an object tells it. */
  readonly since: Instant
  /** The newest Job of the run, where one is known. */
  readonly job?: JobFact
  /** Since when pods of the run wait for a node that is gone or not Ready, where some do. */
  readonly strandedSince?: Instant
}

/**
 * Asks over *all* Jobs and pods of a run whether any of them may still move it. The time only tells which pods
 * are overdue in their termination; everything else is a fact that an object states.
 *
 * A Job's terminal conditions decide, never counters: with podFailurePolicy, activeDeadlineSeconds or an Indexed
 * Job `status.failed` says nothing (kubernetes/kubernetes, pkg/controller/job: `Failed` and `Complete` are final).
 * A list that failed is unknown; one live object that was seen is enough to be alive.
 */
export function lifeOf({ jobs, pods, nodes, now }: Pick<Facts, 'jobs' | 'pods' | 'nodes' | 'now'>): Life {
  const overdue = overduePods(listed(pods), now)
  const isQuestion = overdue.length > 0 && !nodes?.known
  const seen = { jobs: listed(jobs), pods: listed(pods), stranded: strandedOf(overdue, nodes) }
  const living = livingOf(seen)
  if (living) return isQuestion ? { kind: 'unknown', reason: 'NodesUnknown', nodes } : living
  if (!jobs.known) return { kind: 'unknown', reason: 'JobsUnknown' }
  if (!pods.known) return { kind: 'unknown', reason: 'PodsUnknown' }
  return deathOf(seen)
}

/** The condition of that type where it is True; `FailureTarget` and `SuccessCriteriaMet` only announce an end. */
export const trueCondition = (conditions: readonly Condition[], type: string): Condition | undefined =>
  conditions.find(condition => condition.type === type && condition.status === 'True')

/** The Job created last. Kubernetes' timestamps have whole seconds; the UID makes a tie the same each time. */
export const newestJobOf = (jobs: readonly JobFact[]): JobFact | undefined =>
  jobs.toSorted((a, b) => ageOrder(a, b)).at(-1)

/** Whether a pod is that Job's, by UID: names come again, UIDs do not. */
export const isOwnedBy = ({ pod }: PodFact, { job }: JobFact): boolean =>
  pod.metadata.ownerReferences.some(owner => owner.uid === job.metadata.uid)

/** Whether a container of one of the pods has ever started. */
export const hasStarted = (pods: readonly PodFact[]): boolean =>
  pods.some(({ pod }) => pod.status.containerStatuses.some(hasRun))

interface Seen {
  readonly jobs: readonly JobFact[]
  readonly pods: readonly PodFact[]
  readonly stranded: Stranded
}

function livingOf(seen: Seen): Living | undefined {
  const jobs = seen.jobs.filter(
    fact => !fact.gone && !hasEnded(fact) && !isStopped(fact) && !isLost(fact, seen),
  )
  const pods = seen.pods.filter(fact => mayRun(fact) && !seen.stranded.uids.has(fact.pod.metadata.uid))
  if (jobs.some(({ job }) => !job.spec.suspend)) return { kind: 'alive', reason: 'JobIsActive', jobs, pods }
  if (jobs.length > 0) return { kind: 'alive', reason: 'JobIsSuspended', jobs, pods }
  return pods.length > 0 ? { kind: 'alive', reason: 'PodIsNotTerminal', jobs, pods } : undefined
}

function deathOf({ jobs, pods, stranded }: Seen): Death {
  const job = newestJobOf(jobs)
  const waiting = stranded.uids.size === 0 ? {} : { strandedSince: stranded.since }
  if (job) return { kind: 'dead', job, ...endOfJob(job, stranded.since), ...waiting }
  if (pods.length === 0) return { kind: 'dead', reason: 'NoTrace', since: 0 }
  return { kind: 'dead', reason: 'PodWithoutJob', since: Math.max(...pods.map(endOfPod)), ...waiting }
}

/** How the newest Job ended. One that was gone before we saw how is *deleted*, whatever the gap hides. */
function endOfJob(fact: JobFact, strandedSince: Instant): Pick<Death, 'reason' | 'since'> {
  const failed = since(fact, 'Failed')
  if (failed !== undefined) return { reason: 'JobFailed', since: failed }
  const complete = since(fact, 'Complete')
  if (complete !== undefined) return { reason: 'JobComplete', since: complete }
  if (fact.gone) return { reason: 'JobDeleted', since: fact.gone.at }
  if (!isStopped(fact)) return { reason: 'JobLost', since: strandedSince }
  return { reason: 'JobStopped', since: since(fact, 'Suspended') ?? fact.job.metadata.creationTimestamp }
}

/** Since when a condition of the Job has been True. */
function since({ job }: JobFact, type: string): Instant | undefined {
  const condition = trueCondition(job.status.conditions, type)
  return condition && (condition.lastTransitionTime ?? job.metadata.creationTimestamp)
}

/** When a pod ended: when its last container did, when it was seen to be gone, or, at the least, after it began. */
export function endOfPod({ pod, gone }: PodFact): Instant {
  const ends = pod.status.containerStatuses.flatMap(({ state }) => state.terminated?.finishedAt ?? [])
  return Math.max(pod.metadata.creationTimestamp, gone?.at ?? 0, ...ends)
}

const ageOrder = (a: JobFact, b: JobFact): number =>
  a.job.metadata.creationTimestamp - b.job.metadata.creationTimestamp ||
  (a.job.metadata.uid < b.job.metadata.uid ? -1 : 1)

/** Whether a Job has come to an end that it will not come back from. */
export const hasEnded = ({ job }: JobFact): boolean =>
  ['Failed', 'Complete'].some(type => trueCondition(job.status.conditions, type))

/** Suspended by ourselves, before we ended its run, and never resumed: it waits for nobody. */
const isStopped = ({ job }: JobFact): boolean =>
  job.spec.suspend && job.metadata.annotations[SUSPENDED_BY_US_ANNOTATION] !== undefined

/** `FailureTarget` and nothing left that could report: such a Job never gets its `Failed` (measured on 1.37). */
function isLost(fact: JobFact, { pods, stranded }: Seen): boolean {
  if (!trueCondition(fact.job.status.conditions, 'FailureTarget')) return false
  const left = pods.filter(pod => mayRun(pod) && isOwnedBy(pod, fact))
  return left.length > 0 && left.every(({ pod }) => stranded.uids.has(pod.metadata.uid))
}

const hasRun = ({ state, lastState }: ContainerStatus): boolean =>
  state.running !== undefined || state.terminated !== undefined || lastState.terminated !== undefined
