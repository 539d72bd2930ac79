import { performance } from 'node:perf_hooks'

import { LRUCache } from 'lru-cache'

import { isUuid } from '../core/names.ts'
import type { Parent, ParentOf } from '../core/parent.ts'
import { abortable } from './abortable.ts'
import { parseList, parseParented } from './answers.ts'
import { dataOf } from './api.ts'
import type { Api } from './api.ts'
import { createBatching, systemAfter } from './batching.ts'
import type { Priority } from './rate-limit.ts'
import type { Call } from './sender.ts'

/**
 * Runs per request: 50 take Prefect 50 ms and about 100 kB, 200 a quarter of a second (measured on 3.8.8), and
 * a run's parameters count as well.
 */
export const RUNS_PER_REQUEST = 50

/** About 10 MB when full. */
const CACHED_PARENTS = 50_000

/** A run's parent never changes, but a run may be created after we asked. */
const NEGATIVE_TTL_MS = 30_000

export interface ParentsDeps {
  readonly api: Api
  /** Who waits: admission for a moment, the backfill for as long as Prefect takes. */
  readonly priority: Priority
  readonly now: () => number
  readonly onLookup: (result: 'hit' | 'miss') => void
}

const parentIn = (parents: ReadonlyMap<string, string | undefined>, id: string): Parent => {
  if (!parents.has(id)) return { kind: 'notFound' }
  const parentTaskRunId = parents.get(id)
  return parentTaskRunId === undefined ? { kind: 'topLevel' } : { kind: 'subflow', parentTaskRunId }
}

/** One request for up to 50 runs. It is shared, so that no caller's signal ends it; it has the sender's deadline. */
const createAsk =
  ({ http, send }: Api, priority: Priority) =>
  async (ids: readonly string[]): Promise<readonly Parent[]> => {
    const call: Call = {
      operation: 'parentOf',
      priority,
      repeat: 'always',
      signal: new AbortController().signal,
    }
    const result = await http.POST('/flow_runs/filter', {
      body: { flow_runs: { id: { any_: [...ids] } }, limit: ids.length },
      fetch: send(call),
    })
    const rows = parseList(dataOf(call, result), 'parents of flow runs').map(parseParented)
    const parents = new Map(rows.map(row => [row.id, row.parentTaskRunId]))
    return ids.map(id => parentIn(parents, id))
  }

/**
 * Look-ups of parents: asked together, remembered, and those of admission never behind the observer's requests. An
 * answer that comes after a caller has gone is still remembered for its next attempt.
 */
export const createParentOf = ({ api, priority, now, onLookup }: ParentsDeps): ParentOf => {
  const look = createBatching({
    ask: createAsk(api, priority),
    most: RUNS_PER_REQUEST,
    after: systemAfter,
    now: () => performance.now(),
  })
  const cache = new LRUCache<string, Parent>({
    max: CACHED_PARENTS,
    perf: { now },
    ttlResolution: 0,
    // A look-up whose place in a full cache is taken meanwhile still has its answer.
    ignoreFetchAbort: true,
    // Concurrent calls for one run share this one.
    fetchMethod: async (flowRunId, _stale, { options }) => {
      const parent = await look(flowRunId)
      options.ttl = parent.kind === 'subflow' ? 0 : NEGATIVE_TTL_MS
      return parent
    },
  })
  return async (flowRunId, signal) => {
    if (!isUuid(flowRunId)) throw new TypeError(`${String(flowRunId)} is no flow run id: not a UUID`)
    onLookup(cache.has(flowRunId) ? 'hit' : 'miss')
    return abortable(cache.forceFetch(flowRunId), signal)
  }
}
