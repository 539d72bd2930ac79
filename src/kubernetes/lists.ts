import { abortable } from '../batching/abortable.ts'
import { createBatching, type Gathering } from '../batching/batching.ts'
import { FLOW_RUN_ID_LABEL, isUuid } from '../core/names.ts'
import type { Access } from './http/access.ts'
import { isRecord } from './parse/fields.ts'
import { allOf } from './list.ts'

/** The objects of one flow run: all of them, or it throws. */
type ListOf<T> = (flowRunId: string, signal: AbortSignal) => Promise<readonly T[]>

export interface ListsOptions<T> {
  readonly access: Pick<Access, 'request'>
  /** The collections to look through. */
  readonly paths: readonly string[]
  readonly parse: (json: unknown) => T
}

/** A selector of so many ids takes 2 kB of the URL; as many runs as the observer looks at at once. */
const RUNS_PER_LIST = 50

/** As in the watches' lists (ARCHITECTURE.md, "One event loop"). */
const PAGE_SIZE = 100

/**
 * A list costs the API server the same for one run and for fifty: it goes through all that it holds. With 35,000 Jobs
 * two lists for each death were all that it could do (measured on 1.37). Runs that are asked for in the same moment
 * share one, and those that come while one is under way go with the next, so that each is as fresh as if asked for
 * alone. Who asks alone does not wait.
 */
const IN_TURN: Gathering = {
  aloneMs: 1,
  company: { pauseMs: 2, longestMs: 10, lingerMs: 0 },
  requests: 1,
}

/** Whoever asked may be gone; the others still want their answer. As long as the API server itself gives a request. */
const DEADLINE_MS = 60_000

/** Lists what flow runs have, those that are asked for together with one request for each collection. */
export function createLists<T>(options: ListsOptions<T>): ListOf<T> {
  const list = createBatching<readonly T[]>({
    ask: async flowRunIds => {
      const found = await listTogether([...new Set(flowRunIds)], options)
      // Each run has an answer of its own: what cannot be read of one is no trouble for the others.
      return flowRunIds.map(async id => (found.get(id) ?? []).map(options.parse))
    },
    most: RUNS_PER_LIST,
    gathering: IN_TURN,
  })
  return async (flowRunId, signal) => {
    // What is no UUID would change the selector's meaning, `a,b!=c` for one.
    const selector = `${FLOW_RUN_ID_LABEL}=${flowRunId}`
    if (!isUuid(flowRunId)) throw new TypeError(`${selector}: not the id of a flow run`)
    return abortable(list(flowRunId), signal)
  }
}

/** What these runs have, unread. */
async function listTogether(
  flowRunIds: readonly string[],
  { access, paths }: Omit<ListsOptions<unknown>, 'parse'>,
): Promise<ReadonlyMap<string, readonly unknown[]>> {
  const labelSelector = `${FLOW_RUN_ID_LABEL} in (${flowRunIds.join(',')})`
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const lists = await Promise.all(
    paths.map(async path => allOf({ access, scope: { path, labelSelector }, pageSize: PAGE_SIZE, signal })),
  )
  const byRun = Map.groupBy(lists.flat(), flowRunIdOf)
  const strange = [...byRun.keys()].find(id => !flowRunIds.includes(id))
  if (strange !== undefined)
    throw new TypeError(`${paths.join(', ')}: asked for ${labelSelector}, answered with ${strange}`)
  return byRun
}

function flowRunIdOf(json: unknown): string {
  const metadata = isRecord(json) ? json['metadata'] : undefined
  const labels = isRecord(metadata) ? metadata['labels'] : undefined
  return isRecord(labels) ? String(labels[FLOW_RUN_ID_LABEL]) : 'an object without labels'
}
