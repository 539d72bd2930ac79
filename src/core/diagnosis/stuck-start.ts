import type { Pod } from '../objects.ts'
import { mainOf } from './containers.ts'
import type { DiagnosisEvidence, StuckStart } from './diagnosis.ts'
import { compareText, completionOf, failureOf, isDeleted, isTerminal, podsOf } from './evidence.ts'
import { podsNotCreated } from './pod-creation.ts'
import { stuckPod } from './stuck-pod.ts'

/**
 * Why a Job that is alive cannot start, and since when; `undefined` where it can, may, or need not: a suspended
 * Job waits on purpose, and one whose flow runs in one of its pods has started. Of several stuck pods the one
 * that waits longest speaks.
 */
export function stuckStart(evidence: DiagnosisEvidence): StuckStart | undefined {
  if (!needsPods(evidence)) return undefined
  const pods = podsOf(evidence).filter(pod => !isTerminal(pod) && !isDeleted(pod, evidence))
  if (pods.some(isRunningFlow)) return undefined
  if (pods.length === 0) return podsNotCreated(evidence)
  return pods
    .toSorted((a, b) => compareText(a.metadata.uid, b.metadata.uid))
    .flatMap(pod => stuckPod(pod, evidence) ?? [])
    .toSorted((a, b) => a.since - b.since)[0]
}

const needsPods = ({ job, gone }: DiagnosisEvidence): boolean =>
  !gone?.job && !job?.spec.suspend && !failureOf(job) && !completionOf(job)

const isRunningFlow = (pod: Pod): boolean => mainOf(pod)?.state.running !== undefined
