import type { DeadCase, RunCase } from './case.ts'
import type { PodFact } from './facts.ts'
import { isOwnedBy, trueCondition } from './life.ts'
import type { Instant, Job, Pod } from './objects.ts'
import { mayRun } from './stranded.ts'

/**
 * When a pod went whose processes nobody saw end: it was deleted by force, or the control plane called it Failed
 * because its node is gone (pod garbage collection) while on record a container runs. kubelet itself calls a pod
 * ended only after its containers are (kubernetes, pkg/kubelet/status/status_manager.go, mergePodStatus).
 */
export function unseenEndOf({ pod, gone }: PodFact): Instant | undefined {
  if (mayRun({ pod })) return gone?.at
  if (!pod.status.containerStatuses.some(({ state }) => state.running)) return undefined
  return gone?.at ?? declaredAt(pod)
}

/**
 * Whether the newest Job may have left a process behind: on a node that is merely cut off from Kubernetes the flow
 * goes on, and goes on talking to Prefect, whatever has become of its pod here. The same holds where the Job counts
 * more pods than are known: some went while nobody watched, or another controller had them somewhere else
 * (`managedBy`). A Job that completed has heard of its pods' success.
 */
export function isEndUnseen(facts: DeadCase): boolean {
  const { newest, death } = facts
  const own = ownPods(facts)
  if (own.some(isUnseen)) return true
  if (!newest || death.reason === 'JobComplete') return false
  return countOf(newest.job) > new Set(own.map(({ pod }) => pod.metadata.uid)).size
}

/** Whether the newest Job, though it cannot start now, may have left a process behind on such a node. */
export const hasLeftProcess = (facts: RunCase): boolean => ownPods(facts).some(isUnseen)

/** Those of the newest Job; all there are where no Job is known. */
const ownPods = ({ pods, newest }: RunCase): readonly PodFact[] =>
  newest ? pods.filter(pod => isOwnedBy(pod, newest)) : pods

const isUnseen = (fact: PodFact): boolean => unseenEndOf(fact) !== undefined

const declaredAt = ({ metadata, status }: Pod): Instant =>
  trueCondition(status.conditions, 'DisruptionTarget')?.lastTransitionTime ?? metadata.creationTimestamp

/** How many pods a Job has had, at the least: one that is Terminating may count as failed already. */
const countOf = ({ status: { active, succeeded, failed, terminating } }: Job): number =>
  active + succeeded + Math.max(failed, terminating)
