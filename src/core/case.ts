import { diagnose, stuckStart } from './diagnosis/diagnose.ts'
import type { DiagnosisEvidence, Finding, StuckStart } from './diagnosis/diagnosis.ts'
import { listed } from './evidence.ts'
import type { Facts, JobFact, PodFact } from './facts.ts'
import type { FlowRun } from './flow-run.ts'
import type { Death, Life } from './life.ts'
import { isOwnedBy, lifeOf, newestJobOf } from './life.ts'
import type { VerdictSettings } from './settings.ts'

/** The facts and what follows from them at once: what every rule can read. */
export interface Case {
  readonly facts: Facts
  readonly settings: VerdictSettings
  readonly life: Life
  readonly jobs: readonly JobFact[]
  readonly pods: readonly PodFact[]
  readonly newest: JobFact | undefined
  /** Alive, and unable to start. */
  readonly stuck: StuckStart | undefined
  /** Why it died, or why it cannot start. */
  readonly finding: Finding
}

/** A case whose flow run was read and exists. */
export interface RunCase extends Case {
  readonly run: FlowRun
}

/** A case whose run Kubernetes has given up on. */
export interface DeadCase extends RunCase {
  readonly death: Death
}

/** Draws from the facts what several rules ask for. Pure; nothing is read or waited for. */
export function caseOf(facts: Facts, settings: VerdictSettings): Case {
  const life = lifeOf(facts)
  const jobs = listed(facts.jobs)
  const pods = listed(facts.pods)
  const newest = newestJobOf(jobs)
  const evidence = evidenceOf({ facts, newest, pods })
  const stuck = isAllThatLives({ facts, newest, life }) ? stuckStart(evidence) : undefined
  return { facts, settings, life, jobs, pods, newest, stuck, finding: stuck ?? diagnose(evidence) }
}

/** Whether the run's Jobs can be in no other cluster than this: only then absence is proof. */
export const isOwned = ({ run, settings }: RunCase): boolean =>
  run.workPoolName !== undefined && settings.workPools.includes(run.workPoolName)

/**
 * Whether nothing of the run lives but its newest Job, as far as there is any: only then what keeps that Job from
 * starting keeps the run from going on. A list that failed might have held the pod that runs.
 */
function isAllThatLives({ facts, newest, life }: Pick<Case, 'facts' | 'newest' | 'life'>): boolean {
  if (life.kind !== 'alive' || !facts.jobs.known || !facts.pods.known) return false
  if (!newest) return true
  const { uid } = newest.job.metadata
  return (
    life.jobs.every(({ job }) => job.metadata.uid === uid) && life.pods.every(pod => isOwnedBy(pod, newest))
  )
}

/** Nothing is left of the run, and the Job that `infrastructure_pid` names was looked for and is not there. */
const isNamedJobGone = ({ namedJob }: Facts): boolean =>
  namedJob?.known === true && namedJob.value === undefined

/** The diagnosis wants objects as they were last seen, and the UIDs of those that are gone. */
const evidenceOf = ({ facts, newest, pods }: Pick<Case, 'facts' | 'newest' | 'pods'>): DiagnosisEvidence => ({
  pods: pods.map(({ pod }) => pod),
  events: listed(facts.events),
  gone: {
    job: newest ? newest.gone !== undefined : isNamedJobGone(facts),
    pods: pods.filter(({ gone }) => gone).map(({ pod }) => pod.metadata.uid),
  },
  ...(newest && { job: newest.job }),
  ...(facts.nodes?.known && { nodes: facts.nodes.value }),
})
