import type { JobFact, PodFact } from '../core/facts.ts'
import { hasEnded } from '../core/life.ts'
import { mayRun } from '../core/stranded.ts'
import type { Reads, Seen } from './reads.ts'

interface Live {
  readonly reads: Reads
  readonly signal: AbortSignal
}

/**
 * The run's Jobs and pods as the API server has them now, with those that went away as they were last seen.
 *
 * A live list finds what carries the label. What we knew and the list lacks may merely have lost its labels: it is
 * looked up by name, and only another UID or none at all means that it is gone.
 */
export async function liveCluster(flowRunId: string, { reads, signal }: Live): Promise<Seen> {
  const [jobs, pods] = await Promise.all([reads.jobsOf(flowRunId, signal), reads.podsOf(flowRunId, signal)])
  const seen = reads.seen(flowRunId)
  const present = new Set([...jobs, ...pods].map(({ metadata }) => metadata.uid))
  const [lostJobs, lostPods] = await Promise.all([
    Promise.all(seen.jobs.filter(isAbsentJob(present)).map(fact => lastLookAtJob(fact, { reads, signal }))),
    Promise.all(seen.pods.filter(isAbsentPod(present)).map(fact => lastLookAtPod(fact, { reads, signal }))),
  ])
  return {
    jobs: [...jobs.map(job => ({ job })), ...lostJobs],
    pods: [...pods.map(pod => ({ pod })), ...lostPods],
  }
}

const isAbsentJob =
  (present: ReadonlySet<string>) =>
  ({ job }: JobFact): boolean =>
    !present.has(job.metadata.uid)

const isAbsentPod =
  (present: ReadonlySet<string>) =>
  ({ pod }: PodFact): boolean =>
    !present.has(pod.metadata.uid)

async function lastLookAtJob(fact: JobFact, { reads, signal }: Live): Promise<JobFact> {
  if (hasEnded(fact)) return goneJob(fact, reads)
  const { namespace, name, uid } = fact.job.metadata
  const job = await reads.job(namespace, name, signal)
  return job?.metadata.uid === uid ? { job } : goneJob(fact, reads)
}

async function lastLookAtPod(fact: PodFact, { reads, signal }: Live): Promise<PodFact> {
  if (!mayRun({ pod: fact.pod })) return gonePod(fact, reads)
  const { namespace, name, uid } = fact.pod.metadata
  const pod = await reads.pod(namespace, name, signal)
  return pod?.metadata.uid === uid ? { pod } : gonePod(fact, reads)
}

const goneJob = (fact: JobFact, { now }: Reads): JobFact => ({
  job: fact.job,
  gone: fact.gone ?? { at: now(), finalStateUnknown: true },
})

const gonePod = (fact: PodFact, { now }: Reads): PodFact => ({
  pod: fact.pod,
  gone: fact.gone ?? { at: now(), finalStateUnknown: true },
})
