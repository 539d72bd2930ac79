import type { Condition, Instant, Job, KubernetesEvent, Node, ObjectMeta, Pod } from '../objects.ts'
import { trueCondition } from '../life.ts'
import type { DiagnosisEvidence, Subject } from './diagnosis.ts'

/** The labels by which a pod names its Job even after `--cascade=orphan` has taken its owner reference away. */
const CONTROLLER_UID_LABELS = ['batch.kubernetes.io/controller-uid', 'controller-uid'] as const

/**
 * Why a Job gave up. `FailureTarget` says so earlier and with the same reason; it is all there will ever be where
 * a pod cannot be ended because its node is lost.
 */
export const failureOf = (job: Job | undefined): Condition | undefined =>
  job &&
  (trueCondition(job.status.conditions, 'Failed') ?? trueCondition(job.status.conditions, 'FailureTarget'))

/** That a Job completed, or is about to. */
export const completionOf = (job: Job | undefined): Condition | undefined =>
  job &&
  (trueCondition(job.status.conditions, 'Complete') ??
    trueCondition(job.status.conditions, 'SuccessCriteriaMet'))

/** Whether a Job completed: failing would have come first. */
export const hasCompleted = (job: Job | undefined): boolean =>
  completionOf(job) !== undefined && failureOf(job) === undefined

/** When a Job decided that it had failed: from then on its controller deletes the pods that are left. */
export function gaveUpAt(job: Job | undefined): Instant | undefined {
  const times = (job?.status.conditions ?? [])
    .filter(({ type, status }) => status === 'True' && (type === 'FailureTarget' || type === 'Failed'))
    .flatMap(({ lastTransitionTime }) => lastTransitionTime ?? [])
  return times.length > 0 ? Math.min(...times) : undefined
}

/** The pods of the Job in question, by UID, since names come again; without a Job, all pods. */
export const podsOf = ({ job, pods }: DiagnosisEvidence): readonly Pod[] =>
  job ? pods.filter(pod => isOwnedBy(pod.metadata, job.metadata.uid)) : pods

/** Events about an object, oldest first. */
export const eventsAbout = ({ uid }: ObjectMeta, { events }: DiagnosisEvidence): readonly KubernetesEvent[] =>
  events
    .filter(({ regarding }) => regarding.uid === uid)
    .toSorted((a, b) => lastSeenOf(a) - lastSeenOf(b) || compareText(a.message, b.message))

/** When an event came last; one without a time counts as old. */
export const lastSeenOf = ({ lastSeen }: KubernetesEvent): Instant => lastSeen ?? 0

/** When the first of these events came, as far as they tell: a repeated event that lost its first time does not. */
export function firstSeenOf(events: readonly KubernetesEvent[]): Instant | undefined {
  const times = events.flatMap(
    ({ firstSeen, lastSeen, count }) => firstSeen ?? (count > 1 ? [] : (lastSeen ?? [])),
  )
  return times.length > 0 ? Math.min(...times) : undefined
}

export const isGone = ({ metadata }: Pod, { gone }: DiagnosisEvidence): boolean =>
  gone?.pods.includes(metadata.uid) ?? false

/** Whether somebody asked for the pod's end, or it no longer exists. */
export const isDeleted = (pod: Pod, evidence: DiagnosisEvidence): boolean =>
  pod.metadata.deletionTimestamp !== undefined || isGone(pod, evidence)

/** Whether nothing in the pod can run any more. */
export const isTerminal = ({ status }: Pod): boolean =>
  status.phase === 'Failed' || status.phase === 'Succeeded'

/** The pod's node where its state was looked up: `gone` where it is not there any more. */
export function nodeOf({ spec }: Pod, { nodes }: DiagnosisEvidence): Node | 'gone' | undefined {
  if (!nodes || spec.nodeName === undefined) return undefined
  return nodes.find(({ name }) => name === spec.nodeName) ?? 'gone'
}

/** Whom a diagnosis about a pod is about. */
export const podSubject = ({ metadata, spec }: Pod, container?: string): Subject => ({
  namespace: metadata.namespace,
  pod: metadata.name,
  ...(spec.nodeName !== undefined && { node: spec.nodeName }),
  ...(container !== undefined && { container }),
})

/** Whom a diagnosis about a Job is about. */
export const jobSubject = (job: Job | undefined): Subject =>
  job ? { namespace: job.metadata.namespace, job: job.metadata.name } : {}

/** Order of texts that is the same on every machine. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

const isOwnedBy = ({ ownerReferences, labels }: ObjectMeta, jobUid: string): boolean =>
  ownerReferences.some(({ uid }) => uid === jobUid) ||
  CONTROLLER_UID_LABELS.some(label => labels[label] === jobUid)
