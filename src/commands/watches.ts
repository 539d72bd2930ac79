import { FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL } from '../core/names.ts'
import type { Job, Pod } from '../core/objects.ts'
import { parseJob } from '../kubernetes/parse/job.ts'
import type { Meta } from '../kubernetes/parse/metadata.ts'
import { parseMeta } from '../kubernetes/parse/metadata.ts'
import { parsePod } from '../kubernetes/parse/pod.ts'
import { JOBS, PODS } from '../kubernetes/paths.ts'
import type { Reflector } from '../kubernetes/watch/reflector.ts'
import { createReflectors } from '../kubernetes/watch/reflectors.ts'
import type { Change } from '../kubernetes/watch/store.ts'
import type { Check } from '../operations/status-report.ts'
import type { Foundation } from './foundation.ts'

/** Who wants to know. Called between two lines of a stream: they only enqueue. */
export interface WatchListeners {
  readonly jobChanged: (change: Change<Job>) => void
  readonly podChanged: (change: Change<Pod>) => void
  /** A Job or pod that has no parent label (yet). */
  readonly unlabelledChanged: (change: Change<Meta>) => void
}

/** The four watches: labelled Jobs and pods, and the metadata of those that lack the label. */
export interface Watches {
  readonly jobs: Reflector<Job>
  readonly pods: Reflector<Pod>
  readonly unlabelledJobs: Reflector<Meta>
  readonly unlabelledPods: Reflector<Meta>
  readonly start: () => void
  readonly stop: () => Promise<void>
  readonly whenSynced: (signal: AbortSignal) => Promise<void>
  readonly checks: () => readonly Check[]
}

/** Server-side selectors: objects that are not ours are never sent, so they cost nothing. */
export function createWatches(
  foundation: Pick<Foundation, 'access' | 'config' | 'logger' | 'kubernetesMetrics'>,
  listeners: WatchListeners,
): Watches {
  const { access, config, logger, kubernetesMetrics } = foundation
  const filters = Object.entries(config.labelFilters).map(([name, value]) => `${name}=${value}`)
  const selector = (...terms: readonly string[]): string => [...terms, ...filters].join(',')
  const labelled = selector(FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL)
  const unlabelled = selector(FLOW_RUN_ID_LABEL, `!${PARENT_TASK_RUN_ID_LABEL}`)
  const common = {
    access,
    namespaces: config.namespaces,
    index: flowRunIdOf,
    metrics: kubernetesMetrics,
    report: ({ what, error: err }: { what: string; error?: unknown }) => {
      logger.warn({ err, what }, 'trouble with a watch')
    },
  }
  const bare = { ...common, labelSelector: unlabelled, metadataOnly: true, parse: parseMeta }
  return together({
    jobs: createReflectors({
      ...common,
      resource: JOBS,
      labelSelector: labelled,
      parse: parseJob,
      onChange: listeners.jobChanged,
    }),
    pods: createReflectors({
      ...common,
      resource: PODS,
      labelSelector: labelled,
      parse: parsePod,
      onChange: listeners.podChanged,
    }),
    unlabelledJobs: createReflectors({ ...bare, resource: JOBS, onChange: listeners.unlabelledChanged }),
    unlabelledPods: createReflectors({ ...bare, resource: PODS, onChange: listeners.unlabelledChanged }),
  })
}

const flowRunIdOf = ({ metadata }: Meta): string | undefined => metadata.labels[FLOW_RUN_ID_LABEL]

type Reflectors = Pick<Watches, 'jobs' | 'pods' | 'unlabelledJobs' | 'unlabelledPods'>

function together(reflectors: Reflectors): Watches {
  const all = Object.entries(reflectors) as readonly (readonly [string, Reflector<unknown>])[]
  return {
    ...reflectors,
    start: () => {
      for (const [, reflector] of all) reflector.start()
    },
    stop: async () => {
      await Promise.all(all.map(([, reflector]) => reflector.stop()))
    },
    whenSynced: async signal => {
      await Promise.all(all.map(([, reflector]) => reflector.whenSynced(signal)))
    },
    checks: () => all.map(([name, reflector]) => checkOf(name, reflector)),
  }
}

function checkOf(name: string, reflector: Reflector<unknown>): Check {
  const { state, objects, outage } = reflector.status()
  const detail = outage
    ? `${outage.message} since ${new Date(outage.since).toISOString()}`
    : `${state}, ${objects} objects`
  return { name: `watch of ${name}`, ok: outage === undefined, detail }
}
