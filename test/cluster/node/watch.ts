import { setTimeout as sleep } from 'node:timers/promises'
import type { Api, Query, Watch } from '../api.ts'
import type { Resource } from '../resources.ts'

export interface Follower<T> {
  readonly query: Query
  readonly signal: AbortSignal
  /** Everything there is, at the start and after every interruption. */
  readonly onList: (items: readonly T[]) => void
  readonly onChange: (object: T) => void
  readonly onDelete: (object: T) => void
  readonly log: (line: string) => void
}

const FIRST_RETRY_MS = 100
const MOST_RETRY_MS = 1_000

/** Follows a kind of objects until the signal, through restarts of the apiserver: each time a watch ends, it lists again. */
export async function follow<T>(api: Api, resource: Resource<T>, follower: Follower<T>): Promise<void> {
  const { signal, log } = follower
  let retryMs = FIRST_RETRY_MS
  while (!signal.aborted) {
    const failure = await followOnce(api, resource, follower).then(
      () => undefined,
      (error: unknown) => String(error),
    )
    if (failure && !signal.aborted) log(`watching ${resource.plural}: ${failure}`)
    retryMs = failure ? Math.min(retryMs * 2, MOST_RETRY_MS) : FIRST_RETRY_MS
    await sleep(retryMs, undefined, { signal, ref: false }).catch(() => {})
  }
}

/** Resolves when the server ends the watch, which it does regularly. */
async function followOnce<T>(api: Api, resource: Resource<T>, follower: Follower<T>): Promise<void> {
  const { query, signal, onList, onChange, onDelete } = follower
  const { items, resourceVersion } = await api.list(resource, query)
  if (signal.aborted) return
  onList(items)
  const onEvent: Watch<T>['onEvent'] = ({ type, object }) =>
    type === 'DELETED' ? onDelete(object) : onChange(object)
  await api.watch(resource, { query, resourceVersion, signal, onEvent })
}
