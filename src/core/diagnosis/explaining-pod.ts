import type { Instant, Pod } from '../objects.ts'
import { allOf, endOf } from './containers.ts'
import type { DiagnosisEvidence } from './diagnosis.ts'
import { disruptionOf } from './disruption.ts'
import { compareText, failureOf, gaveUpAt, hasCompleted, podsOf } from './evidence.ts'

/** The label of an Indexed Job's pods. Source: kubernetes.io, well-known labels. */
const INDEX_LABEL = 'batch.kubernetes.io/job-completion-index'

interface Candidate {
  readonly pod: Pod
  readonly diedAt: Instant
  /** Whether the Job's condition names it, as PodFailurePolicy does. */
  readonly isNamed: boolean
  /** Whether it ended as the Job did. */
  readonly sharesEnd: boolean
  /** Whether its index succeeded in the end: then it cannot have failed the Job. */
  readonly isHealed: boolean
  /** Whether it failed after the Job had given up: then it was the Job that ended it. */
  readonly isAftermath: boolean
}

/** What makes one pod explain more than another, the most telling first. */
const ORDER: readonly ((candidate: Candidate) => number)[] = [
  ({ isNamed }) => Number(isNamed),
  ({ sharesEnd }) => Number(sharesEnd),
  ({ isHealed }) => Number(!isHealed),
  ({ isAftermath }) => Number(!isAftermath),
  ({ diedAt }) => diedAt,
  ({ pod }) => pod.metadata.creationTimestamp,
]

/** The pod that explains why a Job ended: the one its condition names, else the last that ended as the Job did. */
export function explainingPodOf(evidence: DiagnosisEvidence): Pod | undefined {
  const pods = podsOf(evidence)
  const healed = new Set(
    pods.filter(({ status }) => status.phase === 'Succeeded').flatMap(pod => indexOf(pod) ?? []),
  )
  const candidates = pods.map(pod => candidateOf(pod, evidence, healed))
  return candidates.toSorted(compareCandidates).at(-1)?.pod
}

function candidateOf(pod: Pod, { job }: DiagnosisEvidence, healed: ReadonlySet<string>): Candidate {
  const diedAt = diedAtOf(pod)
  const index = indexOf(pod)
  const { namespace, name } = pod.metadata
  return {
    pod,
    diedAt,
    isNamed: failureOf(job)?.message?.includes(` ${namespace}/${name} `) ?? false,
    sharesEnd: hasSucceeded(pod) === hasCompleted(job),
    isHealed: index !== undefined && healed.has(index),
    isAftermath: diedAt > (gaveUpAt(job) ?? Infinity),
  }
}

const compareCandidates = (a: Candidate, b: Candidate): number =>
  ORDER.map(rank => rank(a) - rank(b)).find(difference => difference !== 0) ??
  compareText(a.pod.metadata.uid, b.pod.metadata.uid)

const hasSucceeded = (pod: Pod): boolean =>
  pod.status.phase === 'Succeeded' && disruptionOf(pod) === undefined

const indexOf = ({ metadata }: Pod): string | undefined => metadata.labels[INDEX_LABEL]

/** When a pod was lost: disrupted, failed, deleted, or created where nothing else is known. */
function diedAtOf(pod: Pod): Instant {
  const disruptedAt = disruptionOf(pod)?.lastTransitionTime
  if (disruptedAt !== undefined) return disruptedAt
  const failures = allOf(pod).flatMap(status => {
    const end = endOf(status)
    return end && end.exitCode !== 0 ? (end.finishedAt ?? []) : []
  })
  if (failures.length > 0) return Math.max(...failures)
  return pod.metadata.deletionTimestamp ?? pod.metadata.creationTimestamp
}
