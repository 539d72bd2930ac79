import type { DiagnosisEvidence, Finding } from './diagnosis.ts'
import { createDiagnosis } from './diagnosis.ts'
import { explainingPodOf } from './explaining-pod.ts'
import type { JobCase, JobRule } from './job-rules.ts'
import { AFTER_POD, BEFORE_POD, subjectOf } from './job-rules.ts'
import { explainPod } from './pod-rules.ts'

export { stuckStart } from './stuck-start.ts'

/**
 * Why a run's newest Job ended. What the Job itself did comes first, since its pods ended because of it; where it
 * only ran out of tries, the pod that failed last tells why; what the Job says about that comes last.
 *
 * Answers always, with `unknown` where nothing that is left explains it; the order of pods and Events is no matter.
 */
export function diagnose(evidence: DiagnosisEvidence): Finding {
  const pod = explainingPodOf(evidence)
  const ofPod = pod && explainPod(pod, evidence)
  const jobCase: JobCase = { evidence, pod, ofPod }
  return (
    firstAnswer(BEFORE_POD, jobCase) ?? ofPod ?? firstAnswer(AFTER_POD, jobCase) ?? nothingExplainsIt(jobCase)
  )
}

function firstAnswer(rules: readonly JobRule[], jobCase: JobCase): Finding | undefined {
  for (const { name, explain } of rules) {
    const diagnosis = explain(jobCase)
    if (diagnosis) return { rule: name, diagnosis }
  }
  return undefined
}

const nothingExplainsIt = (jobCase: JobCase): Finding => ({
  rule: 'NothingExplainsIt',
  diagnosis: createDiagnosis('unknown', subjectOf(jobCase), {
    summary: 'Nothing that is left tells how the run ended.',
  }),
})
