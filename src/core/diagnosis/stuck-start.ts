import type { Pod } from '../objects.ts'
import { mainOf } from './containers.ts'
import type { DiagnosisEvidence, HoldUp, StuckStart } from './diagnosis.ts'
import { compareText, completionOf, failureOf, isDeleted, isGone, isTerminal, podsOf } from './evidence.ts'
import { podsNotCreated } from './pod-creation.ts'
import { stuckPod } from './stuck-pod.ts'

/**
 * Why a Job that is alive cannot start, and since when; `undefined` where it can, may, or need not: a suspended
 * Job waits on purpose, and one whose flow runs in one of its pods has started. Of several stuck pods the one
 * that waits longest speaks.
 */
export function stuckStart(evidence: DiagnosisEvidence): StuckStart | undefined {
  if (!needsPods(evidence)) return undefined
  const left = podsOf(evidence).filter(pod => !isTerminal(pod) && !isGone(pod, evidence))
  const pods = left.filter(pod => !isDeleted(pod, evidence))
  if (pods.some(isRunningFlow)) return undefined
  const waits = pods.length === 0 ? [{ heldUp: podsNotCreated(evidence) }] : waitsOf(pods, evidence)
  const holdUps = waits.flatMap(({ heldUp }) => heldUp ?? [])
  const [longest] = holdUps.toSorted((a, b) => a.since - b.since)
  // A pod with a long grace period may go on for an hour while there is no room for the one in its place.
  const isAll = waits.every(isHopeless) && !left.some(isRunningFlow)
  return longest && { ...longest, all: isAll ? holdUps : [] }
}

interface Wait {
  readonly pod?: Pod
  readonly heldUp: HoldUp | undefined
}

const waitsOf = (pods: readonly Pod[], evidence: DiagnosisEvidence): readonly Wait[] =>
  pods
    .toSorted((a, b) => compareText(a.metadata.uid, b.metadata.uid))
    .map(pod => ({ pod, heldUp: stuckPod(pod, evidence) }))

/**
 * Whether nothing will come of a pod by itself. With restartPolicy OnFailure each restart counts towards the Job's
 * backoffLimit (kubernetes, job_controller.go, pastBackoffLimitOnFailure): Kubernetes gives up in its own time.
 */
const isHopeless = ({ pod, heldUp }: Wait): boolean =>
  heldUp !== undefined &&
  !(heldUp.diagnosis.code === 'crash_loop_backoff' && pod?.spec.restartPolicy === 'OnFailure')

const needsPods = ({ job, gone }: DiagnosisEvidence): boolean =>
  !gone?.job && !job?.spec.suspend && !failureOf(job) && !completionOf(job)

const isRunningFlow = (pod: Pod): boolean => mainOf(pod)?.state.running !== undefined
