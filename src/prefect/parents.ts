import { LRUCache } from 'lru-cache'

import { isUuid } from '../core/names.ts'
import type { Parent, ParentOf } from '../core/parent.ts'
import { abortable } from '../batching/abortable.ts'
import { parseList, parseParented } from './answers.ts'
import { dataOf } from './api.ts'
import type { Api } from './api.ts'
import { createBatching } from '../batching/batching.ts'
import type { Gathering } from '../batching/batching.ts'
import type { Priority } from './rate-limit.ts'
import type { Call } from './sender.ts'

/**
 * Runs per request: 50 take Prefect 50 ms and about 100 kB, 200 a quarter of a second (measured on 3.8.8), and
 * a run's parameters and context count as well: their size is the user's, and Prefect's own page of 200 can be megabytes.
 */
export const RUNS_PER_REQUEST = 50

/** About 10 MB when full. */
const CACHED_PARENTS = 50_000

/** A run's parent never changes, but a run may be created after we asked. */
const NEGATIVE_TTL_MS = 30_000

/**
 * A busy API server makes 200 Jobs a second; at 5 ms nearly each would cost a request of its own. The longest waits are a
 * quarter of what admission has for a look-up (`LIFEGUARD_LOOKUP_DEADLINE`), and, in a burst, half of it while Prefect
 * is fast. Whoever makes a few Jobs at a time and waits for them has to wait for a pause only.
 */
const HASTE: Gathering = {
  aloneMs: 5,
  company: { pauseMs: 50, longestMs: 225, lingerMs: 0 },
  burst: { ids: 10, lingerMs: 250, pauseMs: 100, longestMs: 450 },
  requests: 3,
}

export interface ParentsDeps {
  readonly api: Api
  readonly now: () => number
  readonly onLookup: (result: 'hit' | 'miss') => void
}

/** Who waits: admission for a moment, the observer's backfill for as long as Prefect takes. */
type Parents = Readonly<Record<Priority, ParentOf>>

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

/** Parents that Prefect has told of. */
const createKnown = (now: () => number) => {
  const cache = new LRUCache<string, Parent>({ max: CACHED_PARENTS, perf: { now }, ttlResolution: 0 })
  return {
    get: (flowRunId: string): Parent | undefined => cache.get(flowRunId),
    set: (flowRunId: string, parent: Parent): void => {
      cache.set(flowRunId, parent, { ttl: parent.kind === 'subflow' ? 0 : NEGATIVE_TTL_MS })
    },
  }
}

/** Asks for parents together with others, and for each run once at a time. */
const createAsking = (
  api: Api,
  priority: Priority,
  onAnswer: (flowRunId: string, parent: Parent) => void,
) => {
  const look = createBatching({
    ask: createAsk(api, priority),
    most: RUNS_PER_REQUEST,
    gathering: HASTE,
  })
  const underWay = new Map<string, Promise<Parent>>()
  const ask = async (flowRunId: string): Promise<Parent> => {
    try {
      const parent = await look(flowRunId)
      onAnswer(flowRunId, parent)
      return parent
    } finally {
      underWay.delete(flowRunId)
    }
  }
  return {
    underWay: (flowRunId: string): Promise<Parent> | undefined => underWay.get(flowRunId),
    ask: (flowRunId: string): Promise<Parent> => {
      const asked = underWay.get(flowRunId) ?? ask(flowRunId)
      underWay.set(flowRunId, asked)
      return asked
    },
  }
}

const isThere = (parent: Parent | undefined): parent is Parent =>
  parent !== undefined && parent.kind !== 'notFound'

/**
 * Look-ups of parents: asked together, remembered, and those of admission never behind the observer's requests. An
 * answer that comes after a caller has gone is still remembered: what admission asked for in vain, the backfill need not
 * ask for again. Only that a run does not exist it finds out for itself, for it acts on that for longer.
 */
export const createParents = ({ api, now, onLookup }: ParentsDeps): Parents => {
  const known = createKnown(now)
  const hasty = createAsking(api, 'admission', known.set)
  const patient = createAsking(api, 'observer', known.set)
  const askPatiently = async (flowRunId: string): Promise<Parent> => {
    const parent = await hasty.underWay(flowRunId)?.catch(() => undefined)
    return isThere(parent) ? parent : patient.ask(flowRunId)
  }
  const of = (
    isEnough: (parent: Parent | undefined) => parent is Parent,
    ask: (flowRunId: string) => Promise<Parent>,
  ): ParentOf => {
    const remembered = (flowRunId: string): Parent | undefined => {
      const parent = known.get(flowRunId)
      if (!isEnough(parent)) return undefined
      onLookup('hit')
      return parent
    }
    const parentOf = async (flowRunId: string, signal: AbortSignal): Promise<Parent> => {
      if (!isUuid(flowRunId)) throw new TypeError(`${String(flowRunId)} is no flow run id: not a UUID`)
      const parent = remembered(flowRunId)
      if (parent !== undefined) return parent
      onLookup('miss')
      return abortable(ask(flowRunId), signal)
    }
    return Object.assign(parentOf, { known: remembered })
  }
  return {
    admission: of(parent => parent !== undefined, hasty.ask),
    observer: of(isThere, askPatiently),
  }
}
