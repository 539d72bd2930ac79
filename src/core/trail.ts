import type { Case } from './case.ts'
import type { Evidence } from './evidence.ts'
import type { Gone, JobFact, PodFact } from './facts.ts'
import type { FlowRun } from './flow-run.ts'
import type { Condition, ContainerStatus } from './objects.ts'

/**
 * The facts behind a verdict in short sentences: which objects (UID, resource version), which conditions, which
 * state. For logs and people; a whole case can be recorded as JSON instead.
 */
export function factsInWords({ facts, life, jobs, pods }: Case): readonly string[] {
  const run = facts.flowRun?.known ? facts.flowRun.value : undefined
  return [
    `life: ${life.kind} ${life.reason}, from ${facts.isLive ? 'a live list' : 'the watch'}`,
    ...unknownInWords('jobs', facts.jobs),
    ...jobs.map(jobInWords),
    ...unknownInWords('pods', facts.pods),
    ...pods.map(podInWords),
    ...(run ? [runInWords(run)] : unknownInWords('flow run', facts.flowRun)),
  ]
}

const unknownInWords = (what: string, evidence: Evidence<unknown> | undefined): readonly string[] =>
  evidence && !evidence.known ? [`${what}: unknown, ${evidence.why}`] : []

function jobInWords({ job, gone }: JobFact): string {
  const { namespace, name, uid, resourceVersion } = job.metadata
  const conditions = conditionsInWords(job.status.conditions)
  return `Job ${namespace}/${name} uid ${uid} rv ${resourceVersion}: ${conditions || 'no condition'}${goneInWords(gone)}`
}

function podInWords({ pod, gone }: PodFact): string {
  const { namespace, name, uid, resourceVersion, deletionTimestamp } = pod.metadata
  const containers = pod.status.containerStatuses.map(containerInWords)
  const terminating = deletionTimestamp === undefined ? '' : ', terminating'
  const phase = [pod.status.phase, pod.status.reason, ...containers].filter(Boolean).join(' ')
  return `Pod ${namespace}/${name} uid ${uid} rv ${resourceVersion}: ${phase}${terminating}${goneInWords(gone)}`
}

const conditionsInWords = (conditions: readonly Condition[]): string =>
  conditions
    .filter(({ status }) => status === 'True')
    .map(({ type, reason }) => (reason ? `${type} (${reason})` : type))
    .join(', ')

function containerInWords({ name, state }: ContainerStatus): string {
  if (state.terminated) return `${name} ${state.terminated.reason ?? 'ended'} ${state.terminated.exitCode}`
  return `${name} ${state.running ? 'running' : (state.waiting?.reason ?? 'waiting')}`
}

const goneInWords = (gone: Gone | undefined): string => {
  if (!gone) return ''
  return gone.finalStateUnknown ? ', gone, last state unknown' : ', gone'
}

function runInWords({ id, state, runCount, retries, infrastructurePid }: FlowRun): string {
  const attempts = `run_count ${runCount}, retries ${retries ?? 'unset'}`
  return `Flow run ${id}: ${state.name} (${state.type}) state ${state.id}, ${attempts}, infrastructure ${infrastructurePid ?? 'none'}`
}
