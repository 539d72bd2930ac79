import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../cluster/api.ts'
import { eventually } from '../cluster/api.ts'
import type { Job, Pod } from '../cluster/resources.ts'
import { jobs, pods } from '../cluster/resources.ts'
import type { Timeline } from './timeline.ts'

/** What Kubernetes has of one subflow run, looked at time and again. */
export interface ClusterView {
  /** Label and annotation that were found, by kind. */
  readonly found: Readonly<Record<'job' | 'pod', Readonly<Record<string, string>>>>
  readonly pod: () => Promise<Pod>
  /** When the Job's Failed condition was seen, in milliseconds since 1970. */
  readonly jobFailed: () => Promise<number>
  readonly stop: () => Promise<void>
}

const LABEL = 'prefect.io/parent-task-run-id'
const ANNOTATION = 'prefect.io/finalizer-free'

/** Short against everything that is to be seen. */
const LOOK_MS = 50

/** Long after the slowest of it on a busy machine. */
const PATIENCE_MS = 90_000

interface Look {
  readonly job: Job | undefined
  readonly pod: Pod | undefined
}

/** Follows the run's Job and pod, and notes in the timeline each change that says something. */
export function watchCluster(api: Api, flowRunId: string, timeline: Timeline): ClusterView {
  const stop = new AbortController()
  const notes = new Set<string>()
  const query = { labelSelector: `prefect.io/flow-run-id=${flowRunId}` }
  const found = { job: {}, pod: {} }
  let latest: Look = { job: undefined, pod: undefined }
  let failedAt: number | undefined
  const look = async (): Promise<void> => {
    const [{ items: jobList }, { items: podList }] = await Promise.all([
      api.list(jobs, query),
      api.list(pods, query),
    ])
    latest = { job: jobList[0], pod: podList[0] }
    Object.assign(found.job, ours(latest.job))
    Object.assign(found.pod, ours(latest.pod))
    for (const note of [...wordsOfJob(latest.job), ...wordsOfPod(latest.pod)]) {
      if (!notes.has(note)) timeline.add('Kubernetes', note)
      notes.add(note)
    }
    if (latest.job && hasFailed(latest.job)) failedAt ??= Date.now()
  }
  const looking = repeat(look, stop.signal)
  return {
    found,
    pod: () => present('a pod of the subflow run', () => latest.pod),
    jobFailed: () => present('the Job to fail', () => failedAt),
    stop: async () => {
      stop.abort()
      await looking
    },
  }
}

/** Waits until there is something to read. */
async function present<T>(what: string, read: () => T | undefined): Promise<T> {
  const until = (found: T | undefined): boolean => found !== undefined
  const value = await eventually(() => Promise.resolve(read()), { what, until, timeoutMs: PATIENCE_MS })
  if (value === undefined) throw new Error(`${what} did not come`)
  return value
}

async function repeat(look: () => Promise<void>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await look()
    await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined)
  }
}

const ours = (object: Job | Pod | undefined): Record<string, string> =>
  Object.fromEntries(
    [
      [LABEL, object?.metadata.labels?.[LABEL]],
      [ANNOTATION, object?.metadata.annotations?.[ANNOTATION]],
    ].filter(([, value]) => value !== undefined),
  )

const trueConditions = ({ status }: Job) =>
  (status?.conditions ?? []).filter(({ status: is }) => is === 'True')

const hasFailed = (job: Job): boolean => trueConditions(job).some(({ type }) => type === 'Failed')

function wordsOfJob(job: Job | undefined): readonly string[] {
  if (!job) return []
  const label = ours(job)[LABEL]
  const { name } = job.metadata
  return [
    `Job ${name} created, ${label === undefined ? 'without a label' : `with label ${LABEL}=${label}`}`,
    ...trueConditions(job)
      .filter(({ type }) => type !== 'FailureTarget')
      .map(({ type, reason }) => `Job ${name}: ${type} (${reason ?? ''})`),
  ]
}

function wordsOfPod(pod: Pod | undefined): readonly string[] {
  if (!pod) return []
  const { name } = pod.metadata
  const created = `Pod ${name} created, ${ours(pod)[LABEL] === undefined ? 'without a label' : 'with the same label'}`
  return [created, ...stateOf(pod).map(state => `Pod ${name}: ${state}`)]
}

const stateOf = (pod: Pod): readonly string[] =>
  (pod.status?.containerStatuses ?? []).flatMap(({ state }) => {
    if (state?.running) return ['Running']
    return state?.terminated ? [endOf(state.terminated, pod.status?.phase ?? 'Pending')] : []
  })

const endOf = (
  { reason = 'no reason', exitCode }: { reason?: string | undefined; exitCode: number },
  phase: string,
): string => `${phase}, container ended: ${reason}, exit code ${exitCode}`
