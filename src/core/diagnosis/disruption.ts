import type { Condition, ContainerTermination, Instant, KubernetesEvent, Pod } from '../objects.ts'
import { trueCondition } from '../life.ts'
import { mainEndOf } from './containers.ts'
import type { DiagnosisEvidence } from './diagnosis.ts'
import { eventsAbout, gaveUpAt, isDeleted } from './evidence.ts'

/** How far a node's clock may be from the API server's before we mistake what came first, in milliseconds. */
const CLOCK_TOLERANCE = 30_000

/**
 * Who ended the pod from outside, as its DisruptionTarget condition tells. One that came after the flow had ended
 * explains nothing: the taint manager marks finished pods too (kubernetes, taint_eviction.go), whereas the
 * eviction API and pod garbage collection leave them alone.
 */
export function disruptionOf(pod: Pod): Condition | undefined {
  const condition = trueCondition(pod.status.conditions, 'DisruptionTarget')
  if (!condition || pod.status.phase !== 'Failed') return condition
  const endedAt = mainEndOf(pod)?.end.finishedAt ?? Infinity
  return (condition.lastTransitionTime ?? 0) > endedAt + CLOCK_TOLERANCE ? undefined : condition
}

/**
 * What the deletion of a pod has to do with the end of a container: nothing (`none`), it `stopped` it, it came
 * `afterwards`, or nobody can tell.
 */
export type DeletionEffect = 'none' | 'stopped' | 'afterwards' | 'unclear'

/** Compares a container's end, `undefined` while it ran, with its pod's deletion. */
export function deletionEffectOf(
  pod: Pod,
  { name, end }: { readonly name: string; readonly end: ContainerTermination | undefined },
  evidence: DiagnosisEvidence,
): DeletionEffect {
  if (!isDeleted(pod, evidence)) return 'none'
  if (!end || wasStopped(pod, name, evidence)) return 'stopped'
  const stoppedFrom = deletionRequestedAt(pod) ?? afterGivingUp(evidence)
  if (end.finishedAt === undefined || stoppedFrom === undefined) return 'unclear'
  return end.finishedAt >= stoppedFrom ? 'stopped' : 'afterwards'
}

/** The same for the container that runs the flow. */
export const deletionEffectOnMain = (pod: Pod, evidence: DiagnosisEvidence): DeletionEffect =>
  deletionEffectOf(pod, mainEndOf(pod) ?? { name: '', end: undefined }, evidence)

/** Whether kubelet says that it stops a container: `Stopping container main`, `Container main failed liveness probe, ...`. */
export const isStopOf = ({ reason, message }: KubernetesEvent, name: string): boolean =>
  reason === 'Killing' && `${message.toLowerCase()} `.includes(`container ${name} `)

/** kubelet announces every container it stops; one that ended by itself has no such Event. */
const wasStopped = (pod: Pod, name: string, evidence: DiagnosisEvidence): boolean =>
  eventsAbout(pod.metadata, evidence).some(event => isStopOf(event, name))

/**
 * When the deletion was asked for: `deletionTimestamp` lies the grace period ahead. Once the pod is down, kubelet
 * deletes it again with a grace period of 0, and the first time is lost.
 */
function deletionRequestedAt({ metadata }: Pod): Instant | undefined {
  const { deletionTimestamp, deletionGracePeriodSeconds } = metadata
  if (deletionTimestamp === undefined || !deletionGracePeriodSeconds) return undefined
  return deletionTimestamp - deletionGracePeriodSeconds * 1000
}

/** A Job that has given up deletes its pods; what ended within that second, made it give up (times are whole seconds). */
function afterGivingUp({ job }: DiagnosisEvidence): Instant | undefined {
  const end = gaveUpAt(job)
  return end === undefined ? undefined : end + 1
}
