import type { Api } from '../../cluster/api.ts'
import { jobs, pods } from '../../cluster/resources.ts'
import type { Pod } from '../../cluster/resources.ts'
import type { PrefectApi } from '../../cluster/prefect/api.ts'
import { createTurns } from '../../../src/observer/turns.ts'
import { ended, isGone, running } from '../../chaos/node.ts'
import type { Run } from './world.ts'

/** What happens to the pod of a run once it runs. */
export interface Part {
  readonly run: Run
  /** Its flow says Running and, where it completes, Completed; else Prefect hears nothing of it. */
  readonly reports: boolean
  /** Resolves when its time has come. */
  readonly end: Promise<'oom' | 'completes'>
  /** Its pod runs, and Prefect knows. */
  readonly onRunning?: () => void
}

/** Plays workers, kubelets and flows: makes Jobs, and writes what happens to their pods. */
export interface Cast {
  /** Makes the Job, as a Prefect worker does; the rest follows when its pod is bound to the node. */
  readonly begin: (part: Part, more?: object) => Promise<void>
  /** For the node (`startStatusNode`). */
  readonly play: (pod: Pod) => Promise<void>
}

/** Prefect on sqlite gets no faster with more at a time. */
const AT_ONCE = 4

const JOB_NAME = 'batch.kubernetes.io/job-name'

export function createCast(api: Api, prefect: PrefectApi): Cast {
  const parts = new Map<string, Part>()
  const inTurn = createTurns(AT_ONCE)
  const report = async (
    { reports, run: { flowRunId } }: Part,
    type: 'RUNNING' | 'COMPLETED',
  ): Promise<void> => {
    if (!reports) return
    const { status } = await inTurn(() => prefect.setState(flowRunId, { type }))
    if (status !== 'ACCEPT') throw new Error(`${flowRunId} could not become ${type}: ${status}`)
  }
  const write = async (pod: Pod, status: object): Promise<void> => {
    const { name, namespace } = pod.metadata
    try {
      await api.patch(pods, { name, namespace }, { subresource: 'status', body: { status } })
    } catch (error) {
      if (!isGone(error)) throw error
    }
  }
  return {
    begin: async (part, more = {}) => {
      parts.set(keyOf(part.run.namespace, part.run.name), part)
      await api.create(jobs, jobOf(part.run, more))
    },
    play: async pod => {
      const { namespace = '', labels } = pod.metadata
      const part = parts.get(keyOf(namespace, labels?.[JOB_NAME] ?? ''))
      if (!part) return
      await write(pod, running())
      await report(part, 'RUNNING')
      part.onRunning?.()
      const end = await part.end
      if (end === 'completes') await report(part, 'COMPLETED')
      await write(pod, ended(end))
    },
  }
}

const keyOf = (namespace: string, name: string): string => `${namespace}/${name}`

/** What a Prefect worker makes, with the labels that the observers go by. */
function jobOf({ flowRunId, name, namespace }: Run, more: object) {
  const labels = {
    'prefect.io/flow-run-id': flowRunId,
    'prefect.io/flow-run-name': name,
    'prefect.io/version': '3.8.8',
  }
  const container = { name: 'prefect-job', image: 'none', command: ['prefect', 'flow-run', 'execute'] }
  return {
    metadata: { name, namespace, labels },
    spec: {
      backoffLimit: 0,
      ...more,
      template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers: [container] } },
    },
  }
}

/** Does it for each, so many at a time. */
export async function forEach<T>(
  items: Iterable<T>,
  atOnce: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const queue = items[Symbol.iterator]()
  const worker = async (): Promise<void> => {
    for (let next = queue.next(); !next.done; next = queue.next()) await work(next.value)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}
