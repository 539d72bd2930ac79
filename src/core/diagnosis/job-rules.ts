import type { Job, Pod } from '../objects.ts'
import type { DiagnosisCode } from './codes.ts'
import { mainEndOf } from './containers.ts'
import type { Diagnosis, DiagnosisEvidence, Finding, Statement, Subject } from './diagnosis.ts'
import { createDiagnosis, wordsOf } from './diagnosis.ts'
import { completionOf, failureOf, hasCompleted, jobSubject, podSubject } from './evidence.ts'
import { podsNotCreated } from './pod-creation.ts'
import { stuckPod } from './stuck-pod.ts'

/** What the rules about a Job read. */
export interface JobCase {
  readonly evidence: DiagnosisEvidence
  /** The pod that explains most, where pods are known. */
  readonly pod: Pod | undefined
  /** What the pod rules found about it. */
  readonly ofPod: Finding | undefined
}

/** A rule about a Job: its name, for the trail, and its answer where it has one. */
export interface JobRule {
  readonly name: string
  readonly explain: (jobCase: JobCase) => Diagnosis | undefined
}

/** Ends that a Job or somebody brought about, whatever its pods looked like afterwards. */
export const BEFORE_POD: readonly JobRule[] = [
  { name: 'JobDeleted', explain: jobDeleted },
  { name: 'DeadlineExceeded', explain: deadlineExceeded },
  { name: 'PodFailurePolicy', explain: podFailurePolicy },
  { name: 'ExitedWithoutReporting', explain: exitedWithoutReporting },
]

/** What is left to say where no pod explains it. */
export const AFTER_POD: readonly JobRule[] = [
  { name: 'PodsNotCreated', explain: ({ evidence }) => podsNotCreated(evidence)?.diagnosis },
  { name: 'BackoffLimitExceeded', explain: backoffLimitExceeded },
  { name: 'JobFailed', explain: jobFailed },
]

/** Whom a diagnosis about a Job is about, with the pod that explains it. */
export const subjectOf = ({ evidence, pod }: JobCase, container?: string): Subject => ({
  ...(pod && podSubject(pod, container)),
  ...jobSubject(evidence.job),
})

/** Gone without a terminal condition. With one it was removed after its end, by `ttlSecondsAfterFinished` or by hand. */
function jobDeleted(jobCase: JobCase): Diagnosis | undefined {
  const { job, gone } = jobCase.evidence
  if (!gone?.job || failureOf(job) || completionOf(job)) return undefined
  return createDiagnosis('job_deleted', subjectOf(jobCase), {
    summary: job
      ? `${nameOf(job)} was deleted before it had finished.`
      : 'The Job of the run exists no longer, and nobody saw how it ended.',
    ...backgroundOf(jobCase),
  })
}

function deadlineExceeded(jobCase: JobCase): Diagnosis | undefined {
  const { job } = jobCase.evidence
  const failure = failureOf(job)
  if (!job || failure?.reason !== 'DeadlineExceeded') return undefined
  const { activeDeadlineSeconds: limit } = job.spec
  return createDiagnosis('deadline_exceeded', subjectOf(jobCase), {
    summary: `${nameOf(job)} was active longer than its activeDeadlineSeconds${limit === undefined ? '' : ` of ${limit}`}.`,
    detail: failure.message,
    ...backgroundOf(jobCase),
  })
}

/** With its cause: the policy only says that it is no use to try again. */
function podFailurePolicy(jobCase: JobCase): Diagnosis | undefined {
  const { job } = jobCase.evidence
  const failure = failureOf(job)
  if (!job || failure?.reason !== 'PodFailurePolicy') return undefined
  const cause = jobCase.ofPod?.diagnosis
  return createDiagnosis('pod_failure_policy', subjectOf(jobCase), {
    summary: `A rule of podFailurePolicy failed ${nameOf(job)} without another try.`,
    detail: [failure.message, cause && wordsOf(cause)].filter(words => words !== undefined).join('. '),
    ...(cause && { because: cause, resolution: `${cause.resolution} ${RETRY_BY_POLICY}` }),
  })
}

const RETRY_BY_POLICY =
  'Where it deserves another try, change the FailJob rule of podFailurePolicy in the base job template.'

/** A Job whose pods succeeded. Memory may have run out all the same: for a child process, while PID 1 ended well. */
function exitedWithoutReporting(jobCase: JobCase): Diagnosis | undefined {
  const { pod, ofPod } = jobCase
  const { job } = jobCase.evidence
  if (!job || !hasCompleted(job) || ofPod?.diagnosis.code === 'oom_killed') return undefined
  const main = pod && mainEndOf(pod)
  return createDiagnosis('exited_without_reporting', subjectOf(jobCase, main?.name), {
    summary: `${nameOf(job)} completed, and nobody told Prefect how the run had ended.`,
    ...(main && { end: main.end, detail: main.end.message }),
  })
}

const LIMITS: ReadonlyMap<string, string> = new Map([
  ['BackoffLimitExceeded', 'failed more often than its backoffLimit allows'],
  ['FailedIndexes', 'has indexes that failed more often than backoffLimitPerIndex allows'],
  ['MaxFailedIndexesExceeded', 'has more failed indexes than maxFailedIndexes allows'],
])

function backoffLimitExceeded(jobCase: JobCase): Diagnosis | undefined {
  const { job } = jobCase.evidence
  const { reason = '', message } = failureOf(job) ?? {}
  const words = LIMITS.get(reason)
  if (!job || words === undefined) return undefined
  return createDiagnosis('backoff_limit_exceeded', subjectOf(jobCase), {
    summary: `${nameOf(job)} ${words}.`,
    detail: message,
  })
}

/** For a reason that Kubernetes did not have when this was written. */
function jobFailed(jobCase: JobCase): Diagnosis | undefined {
  const { job } = jobCase.evidence
  const failure = failureOf(job)
  if (!job || !failure) return undefined
  return createDiagnosis('unknown', subjectOf(jobCase), {
    summary: `${nameOf(job)} failed (${failure.reason ?? 'no reason given'}).`,
    detail: failure.message,
  })
}

/** What a deletion or a deadline brings about by itself: no news about a Job that was deleted or ran out of time. */
const CONSEQUENCES: ReadonlySet<DiagnosisCode> = new Set([
  'pod_deleted',
  'error_exit',
  'oom_suspected',
  'unknown',
])

/** What had gone wrong before a Job was deleted or ran out of time: a pod that could not start, most of all. */
function backgroundOf({ evidence, pod, ofPod }: JobCase): Pick<Statement, 'because' | 'detail'> {
  const found = ofPod && !CONSEQUENCES.has(ofPod.diagnosis.code) ? ofPod : undefined
  const stuck = (pod && stuckPod(pod, evidence)) ?? podsNotCreated(evidence)
  const because = (found ?? stuck)?.diagnosis
  return because ? { because, detail: wordsOf(because) } : {}
}

const nameOf = ({ metadata }: Job): string => `Job '${metadata.name}'`
