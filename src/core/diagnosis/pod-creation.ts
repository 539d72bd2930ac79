import type { KubernetesEvent } from '../objects.ts'
import type { DiagnosisEvidence, HoldUp } from './diagnosis.ts'
import { createDiagnosis } from './diagnosis.ts'
import { eventsAbout, firstSeenOf, jobSubject, lastSeenOf, podsOf } from './evidence.ts'

/** What refuses pods, by the words of the API server's answer, and what helps. */
const REFUSALS = [
  {
    words: /exceeded quota/i,
    resolution:
      'Raise the ResourceQuota of namespace <namespace> or free some of it: `kubectl describe quota -n <namespace>`.',
  },
  {
    words: /admission webhook|calling webhook/i,
    resolution:
      'An admission webhook refuses the pod or does not answer: `kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations`.',
  },
  {
    words: /serviceaccount/i,
    resolution:
      "Create the service account in namespace <namespace>, or correct `service_account_name` in the deployment's job_variables.",
  },
  {
    words: /violates PodSecurity/i,
    resolution:
      "Set the securityContext in the work pool's base job template that the Pod Security level of namespace <namespace> asks for.",
  },
] as const

/**
 * Whether a Job's pods are refused before they exist: only Events of the Job tell, since counters never move
 * (dagster-io/dagster#24595). What came before the newest pod was overcome.
 */
export function podsNotCreated(evidence: DiagnosisEvidence): HoldUp | undefined {
  const { job } = evidence
  if (!job) return undefined
  const newestPod = Math.max(
    job.metadata.creationTimestamp,
    ...podsOf(evidence).map(pod => pod.metadata.creationTimestamp),
  )
  const refusals = eventsAbout(job.metadata, evidence).filter(
    event => event.reason === 'FailedCreate' && lastSeenOf(event) >= newestPod,
  )
  const last = refusals.at(-1)
  if (!last) return undefined
  const diagnosis = createDiagnosis('pod_creation_failed', jobSubject(job), {
    summary: `The pods of Job '${job.metadata.name}' cannot be created.`,
    detail: last.message,
    ...helpAgainst(last),
  })
  return {
    rule: 'PodsNotCreated',
    diagnosis,
    since: Math.max(newestPod, firstSeenOf(refusals) ?? lastSeenOf(last)),
  }
}

function helpAgainst({ message }: KubernetesEvent): { readonly resolution?: string } {
  const match = REFUSALS.find(({ words }) => words.test(message))
  return match ? { resolution: match.resolution } : {}
}
