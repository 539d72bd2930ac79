import type { ContainerTermination, Instant, KubernetesEvent, Pod } from '../objects.ts'
import { allOf } from './containers.ts'
import type { DiagnosisEvidence } from './diagnosis.ts'
import { eventsAbout, firstSeenOf } from './evidence.ts'

/** Warnings about a pod for one of these reasons, oldest first. */
export const warningsAbout = (
  pod: Pod,
  evidence: DiagnosisEvidence,
  reasons: ReadonlySet<string>,
): readonly KubernetesEvent[] =>
  eventsAbout(pod.metadata, evidence).filter(({ type, reason }) => type === 'Warning' && reasons.has(reason))

/** kubelet forgets a container's crashes when it then ran for ten minutes. Source: kubelet's MaxContainerBackOff, doubled. */
const CRASHES_FORGOTTEN = 600_000

/**
 * Since when a pod is stuck: the first Event about it, but not before the last step that went well, nor before a
 * crash that ended a long run. Where no Event tells a time, any last crash counts: containers that wait carry none.
 */
export function sinceOf(pod: Pod, events: readonly KubernetesEvent[]): Instant {
  const first = firstSeenOf(events)
  const steps = pod.status.conditions.flatMap(({ status, lastTransitionTime }) =>
    status === 'True' ? (lastTransitionTime ?? []) : [],
  )
  const crashes = allOf(pod)
    .flatMap(({ lastState }) => lastState.terminated ?? [])
    .filter(end => first === undefined || ranLong(end))
    .flatMap(({ finishedAt }) => finishedAt ?? [])
  return Math.max(pod.metadata.creationTimestamp, ...steps, ...crashes, first ?? 0)
}

const ranLong = ({ startedAt = 0, finishedAt = 0 }: ContainerTermination): boolean =>
  finishedAt - startedAt >= CRASHES_FORGOTTEN
