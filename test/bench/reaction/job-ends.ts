import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../../cluster/api.ts'
import { jobs } from '../../cluster/resources.ts'
import type { Job } from '../../cluster/resources.ts'

/** When Jobs got their terminal condition, as a watch of our own sees it. */
export interface JobEnds extends AsyncDisposable {
  /** Of the Job that failed, in milliseconds since 1970; undefined while it has not. */
  readonly failedAt: (namespace: string, name: string) => number | undefined
}

const AGAIN_MS = 100

/** Watches all Jobs there are. The clock is this machine's, by which the counting proxy goes, too. */
export function watchJobEnds(api: Api): JobEnds {
  const failures = new Map<string, number>()
  const stop = new AbortController()
  const see = ({ metadata, status }: Job): void => {
    const key = `${metadata.namespace}/${metadata.name}`
    const hasFailed = status.conditions.some(({ type, status }) => type === 'Failed' && status === 'True')
    if (hasFailed && !failures.has(key)) failures.set(key, Date.now())
  }
  const follow = async (): Promise<void> => {
    while (!stop.signal.aborted)
      try {
        const { items, resourceVersion } = await api.list(jobs)
        items.forEach(see)
        const { signal } = stop
        await api.watch(jobs, { query: {}, resourceVersion, signal, onEvent: ({ object }) => see(object) })
      } catch {
        await sleep(AGAIN_MS)
      }
  }
  const following = follow()
  return {
    failedAt: (namespace, name) => failures.get(`${namespace}/${name}`),
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await following
    },
  }
}
