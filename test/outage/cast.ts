import type { Api } from '../cluster/api.ts'
import type { PrefectApi } from '../cluster/prefect/api.ts'
import { waitFor } from '../cluster/prefect/api.ts'
import { jobs, pods } from '../cluster/resources.ts'
import type { Job, Pod } from '../cluster/resources.ts'
import { ended, isGone, running } from '../chaos/node.ts'

/** A subflow run as Prefect knows it. */
export interface Run {
  readonly name: string
  readonly flowRunId: string
  readonly parentTaskRunId: string
}

/** A run whose pod runs, until it is told to die. */
export interface Victim extends Run {
  /** Its container is killed for want of memory. */
  readonly die: () => void
}

interface Made {
  readonly run: Run
  readonly jobName: string
  /** When it was made. */
  readonly isLabelled: boolean
}

/** Plays the worker, the kubelet and the flows. */
export interface Cast {
  /** Runs that Prefect knows, Pending. */
  readonly createRuns: (count: number) => Promise<readonly Run[]>
  /** Runs whose pods run, all Running in Prefect, too. */
  readonly startRuns: (count: number) => Promise<readonly Victim[]>
  /** Runs with a Job that is suspended, and so lives. */
  readonly makeBystanders: (count: number) => Promise<readonly Run[]>
  /** Another suspended Job for each. */
  readonly makeBystandersOf: (runs: readonly Run[]) => Promise<readonly Made[]>
  /** How many are not final yet. */
  readonly unended: (runs: readonly Run[]) => Promise<number>
  /** Waits until all Jobs have their label; resolves with their number. */
  readonly whenLabelled: (made: readonly Made[]) => Promise<number>
  /** For the node. */
  readonly play: (pod: Pod) => Promise<void>
}

const LABEL = 'prefect.io/parent-task-run-id'
const JOB_NAME = 'batch.kubernetes.io/job-name'

/**
 * Prefect on sqlite is slower with more at a time, and some wait for seconds (400 runs on a busy machine: 57 s one by
 * one, none longer than 0.9 s; 72 s two at a time, the longest 6.4 s). Jobs come in a burst, as from a worker that has
 * many runs to start.
 */
const AT_ONCE = { prefect: 1, kubernetes: 50 } as const

/** Prefect's own limit for one page. */
const PAGE = 200

export async function createCast(api: Api, prefect: PrefectApi): Promise<Cast> {
  const deploymentId = await prefect.createDeployment({ name: 'outage', flow: 'outage' })
  const { parentFlowRunId } = await prefect.createSubflowRun({ deploymentId })
  const deaths = new Map<string, PromiseWithResolvers<void>>()
  let count = 0
  const nextName = (): string => `run-${(count += 1)}`

  const createRun = async (states: readonly string[]): Promise<Run> => ({
    name: nextName(),
    ...(await prefect.createSubflowRun({ deploymentId, parentFlowRunId, states })),
  })
  const createRuns = (number: number, states: readonly string[]): Promise<readonly Run[]> =>
    forEach(numbers(number), AT_ONCE.prefect, () => createRun(states))
  const start = async (run: Run): Promise<Victim> => {
    const death = Promise.withResolvers<void>()
    deaths.set(run.name, death)
    await api.create(jobs, jobOf(run, { name: run.name }))
    return { ...run, die: death.resolve }
  }
  const write = async ({ metadata: { name } }: Pod, status: object): Promise<void> => {
    try {
      await api.patch(pods, { name }, { subresource: 'status', body: { status } })
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  const makeBystandersOf: Cast['makeBystandersOf'] = runs =>
    forEach(runs, AT_ONCE.kubernetes, async run => {
      const job = await api.create(jobs, jobOf(run, { name: nextName(), suspend: true }))
      return { run, jobName: job.metadata.name, isLabelled: isLabelled(job, run) }
    })
  return {
    createRuns: number => createRuns(number, ['PENDING']),
    startRuns: async number => {
      const runs = await createRuns(number, ['PENDING', 'RUNNING'])
      const victims = await forEach(runs, AT_ONCE.kubernetes, start)
      await waitFor('all pods to run', async () =>
        (await api.list(pods)).items.filter(({ status }) => status.phase === 'Running').length === number
          ? true
          : undefined,
      )
      return victims
    },
    makeBystanders: async number => {
      const runs = await createRuns(number, ['PENDING'])
      await makeBystandersOf(runs)
      return runs
    },
    makeBystandersOf,
    unended: async runs => {
      const flowRuns = { id: { any_: runs.map(({ flowRunId }) => flowRunId) } }
      const found = await prefect.filterFlowRuns({ flow_runs: flowRuns, limit: PAGE })
      return runs.length - found.filter(({ state }) => state.type === 'CRASHED').length
    },
    whenLabelled: async made => {
      for (const { run, jobName } of made)
        await waitFor(`a label on ${jobName}`, async () => {
          const job = await api.get(jobs, { name: jobName })
          return job && isLabelled(job, run) ? true : undefined
        })
      return made.length
    },
    play: async pod => {
      const death = deaths.get(pod.metadata.labels?.[JOB_NAME] ?? '')
      if (!death) return
      await write(pod, running())
      await death.promise
      await write(pod, ended('oom'))
    },
  }
}

const isLabelled = ({ metadata }: Job, { parentTaskRunId }: Run): boolean =>
  metadata.labels?.[LABEL] === parentTaskRunId

/** What a worker makes, as far as anybody here looks at it. */
function jobOf({ flowRunId }: Run, { name, suspend = false }: { name: string; suspend?: boolean }) {
  const labels = { 'prefect.io/flow-run-id': flowRunId }
  const container = { name: 'prefect-job', image: 'none', command: ['prefect', 'flow-run', 'execute'] }
  return {
    metadata: { name, labels },
    spec: {
      backoffLimit: 0,
      suspend,
      template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers: [container] } },
    },
  }
}

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n)

/** Does it for each, so many at a time; results in the order of the items. */
export async function forEach<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [index, item] of queue) results[index] = await work(item)
  }
  await Promise.all(numbers(atOnce).map(worker))
  return results
}
