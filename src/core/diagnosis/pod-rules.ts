import type { Pod } from '../objects.ts'
import { containerRules } from './container-rules.ts'
import { allOf, endOf } from './containers.ts'
import type { Diagnosis, DiagnosisEvidence, Finding } from './diagnosis.ts'
import { createDiagnosis } from './diagnosis.ts'
import { disruptionOf } from './disruption.ts'
import { isGone, isTerminal, nodeOf, podSubject } from './evidence.ts'
import type { PodRule } from './rule.ts'
import { stuckPod } from './stuck-pod.ts'

/**
 * Why a pod ended, the first that answers decides: what was done to the pod as a whole explains the ends of its
 * containers, an init container keeps the others from starting, and the flow's own end comes last.
 */
const POD_RULES: readonly PodRule[] = [
  { name: 'PodEvicted', explain: podEvicted },
  { name: 'PodDeadlineExceeded', explain: podDeadlineExceeded },
  { name: 'PodPreempted', explain: podPreempted },
  { name: 'NodeLost', explain: nodeLost },
  { name: 'PodDisrupted', explain: podDisrupted },
  { name: 'PodRefusedByNode', explain: podRefusedByNode },
  ...containerRules,
]

/** Applies the rules to a pod, dead or stuck; `undefined` where none answers. */
export function explainPod(pod: Pod, evidence: DiagnosisEvidence): Finding | undefined {
  for (const { name, explain } of POD_RULES) {
    const diagnosis = explain(pod, evidence)
    if (diagnosis) return { rule: name, diagnosis }
  }
  return stuckPod(pod, evidence) ?? failedPod(pod)
}

/** kubelet's own evictions: the pod's reason; DisruptionTarget is missing for some (local storage, measured on 1.34). */
function podEvicted(pod: Pod): Diagnosis | undefined {
  const { reason, message } = pod.status
  if (reason !== 'Evicted' && !allOf(pod).some(status => endOf(status)?.reason === 'Evicted'))
    return undefined
  return createDiagnosis('evicted', podSubject(pod), {
    summary: `Pod '${pod.metadata.name}' was evicted by its node: a resource ran short or a limit was reached.`,
    detail: message,
  })
}

function podDeadlineExceeded(pod: Pod): Diagnosis | undefined {
  if (pod.status.reason !== 'DeadlineExceeded') return undefined
  return createDiagnosis('deadline_exceeded', podSubject(pod), {
    summary: `Pod '${pod.metadata.name}' was active longer than its activeDeadlineSeconds.`,
    detail: pod.status.message,
  })
}

function podPreempted(pod: Pod): Diagnosis | undefined {
  const disruption = disruptionOf(pod)
  if (disruption?.reason !== 'PreemptionByScheduler' && pod.status.reason !== 'Preempting') return undefined
  return createDiagnosis('preempted', podSubject(pod), {
    summary: `Pod '${pod.metadata.name}' had to make room for a pod of higher priority.`,
    detail: disruption?.message ?? pod.status.message,
  })
}

/** Reasons of a pod whose node went away. Source: kubelet's graceful node shutdown; `NodeLost` is the node controller's. */
const NODE_REASONS: ReadonlySet<string | undefined> = new Set([
  'Terminated',
  'NodeShutdown',
  'Shutdown',
  'NodeLost',
])

function nodeLost(pod: Pod, evidence: DiagnosisEvidence): Diagnosis | undefined {
  if (!hasLostNode(pod, evidence)) return undefined
  return createDiagnosis('node_lost', podSubject(pod), {
    summary: `The node of pod '${pod.metadata.name}' shut down or no longer answers.`,
    detail: disruptionOf(pod)?.message ?? pod.status.message,
  })
}

function hasLostNode(pod: Pod, evidence: DiagnosisEvidence): boolean {
  if (NODE_REASONS.has(pod.status.reason) || isStranded(pod, evidence)) return true
  const reason = disruptionOf(pod)?.reason
  return reason === 'DeletionByPodGC' || (reason === 'DeletionByTaintManager' && !wasNodeReady(pod, evidence))
}

/** A NoExecute taint comes from a node that is lost, unless the node was Ready all the while: then somebody set it. */
function wasNodeReady(pod: Pod, evidence: DiagnosisEvidence): boolean {
  const node = nodeOf(pod, evidence)
  if (node === undefined || node === 'gone' || node.ready !== 'True') return false
  const taintedAt = disruptionOf(pod)?.lastTransitionTime
  return taintedAt !== undefined && node.readySince !== undefined && node.readySince < taintedAt
}

/** A pod that should have ended and cannot: there is no kubelet left to end it. */
function isStranded(pod: Pod, evidence: DiagnosisEvidence): boolean {
  if (isTerminal(pod) || isGone(pod, evidence) || pod.metadata.deletionTimestamp === undefined) return false
  const node = nodeOf(pod, evidence)
  return node !== undefined && (node === 'gone' || node.ready !== 'True')
}

/** What else ends a pod from outside: the eviction API (drains), taints, kubelet. */
function podDisrupted(pod: Pod): Diagnosis | undefined {
  const disruption = disruptionOf(pod)
  if (!disruption) return undefined
  return createDiagnosis('evicted', podSubject(pod), {
    summary: `Pod '${pod.metadata.name}' was evicted from its node (${disruption.reason ?? 'DisruptionTarget'}).`,
    detail: disruption.message,
  })
}

/** kubelet refuses a pod that was bound to its node after all, without starting a container: `OutOfcpu`, `NodeAffinity`, ... */
function podRefusedByNode(pod: Pod): Diagnosis | undefined {
  const { phase, reason = '', message } = pod.status
  const isRefusal =
    reason.startsWith('OutOf') || reason === 'NodeAffinity' || reason === 'UnexpectedAdmissionError'
  if (phase !== 'Failed' || !isRefusal) return undefined
  return createDiagnosis('unschedulable', podSubject(pod), {
    summary: `Pod '${pod.metadata.name}' was refused by the node it was scheduled to (${reason}).`,
    detail: message,
    ...(reason.startsWith('OutOf') && { category: 'Unschedulable.InsufficientResources' }),
    ...(reason === 'NodeAffinity' && { category: 'Unschedulable.NodeAffinity' }),
  })
}

/** The pod failed, says why in a word, and none of the rules knows it. */
function failedPod(pod: Pod): Finding | undefined {
  const { phase, reason, message } = pod.status
  if (phase !== 'Failed' || reason === undefined) return undefined
  const diagnosis = createDiagnosis('unknown', podSubject(pod), {
    summary: `Pod '${pod.metadata.name}' failed (${reason}).`,
    detail: message,
  })
  return { rule: 'PodFailed', diagnosis }
}
