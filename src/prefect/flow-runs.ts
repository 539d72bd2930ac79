import type { Logger } from 'pino'

import type { FlowRun, State } from '../core/flow-run.ts'
import { isInProcess } from '../core/flow-run.ts'
import { isUuid } from '../core/names.ts'
import { abortable } from '../batching/abortable.ts'
import { parseFlowRun, parseList, parseState } from './answers.ts'
import { dataIfFound, dataOf, reading } from './api.ts'
import type { Api } from './api.ts'
import { createBatching } from '../batching/batching.ts'
import type { Gathering } from '../batching/batching.ts'
import type { components } from './openapi.d.ts'
import { RUNS_PER_REQUEST } from './parents.ts'
import type { Call } from './sender.ts'

type Filter = components['schemas']['Body_read_flow_runs_flow_runs_filter_post']

/** The rows that match, at most as many as the filter's limit, which Prefect wants to be 200 or less. */
const rowsOf = async ({ http, send }: Api, call: Call, body: Filter): Promise<readonly unknown[]> => {
  const result = await http.POST('/flow_runs/filter', { body, fetch: send(call) })
  return parseList(dataOf(call, result), call.operation)
}

/** A fresh read; undefined when Prefect has no such run. */
export const createReadFlowRun =
  ({ http, send }: Api) =>
  async (flowRunId: string, signal: AbortSignal): Promise<FlowRun | undefined> => {
    const call = reading('readFlowRun', signal, flowRunId)
    const result = await http.GET('/flow_runs/{id}', {
      params: { path: { id: flowRunId } },
      fetch: send(call),
    })
    const data = dataIfFound(call, result)
    return data === undefined ? undefined : parseFlowRun(data)
  }

const chunksOf = <T>(all: readonly T[], size: number): readonly (readonly T[])[] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, (n + 1) * size))

/** One id that is none makes Prefect refuse the whole request. */
const refuseUnlessUuid = (id: string): void => {
  if (!isUuid(id)) throw new TypeError(`${String(id)} is no flow run id: not a UUID`)
}

/** Fresh reads of many runs, 50 a request. A run that is not in the map does not exist. */
export const createReadFlowRuns =
  (api: Api) =>
  async (flowRunIds: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, FlowRun>> => {
    flowRunIds.forEach(refuseUnlessUuid)
    const call = reading('readFlowRuns', signal)
    const pages = await Promise.all(
      chunksOf([...new Set(flowRunIds)], RUNS_PER_REQUEST).map(ids =>
        rowsOf(api, call, { flow_runs: { id: { any_: [...ids] } }, limit: ids.length }),
      ),
    )
    return new Map(
      pages
        .flat()
        .map(parseFlowRun)
        .map(run => [run.id, run]),
    )
  }

/** The history of a run's states, oldest first; empty for an unknown run. */
export const createReadStates =
  ({ http, send }: Api) =>
  async (flowRunId: string, signal: AbortSignal): Promise<readonly State[]> => {
    const call = reading('readStates', signal, flowRunId)
    const result = await http.GET('/flow_run_states/', {
      params: { query: { flow_run_id: flowRunId } },
      fetch: send(call),
    })
    const states = parseList(dataOf(call, result), `states of flow run ${flowRunId}`)
    // The server has them in this order, to the microsecond; equal milliseconds keep it.
    return states
      .map(state => parseState(state, flowRunId))
      .toSorted((older, newer) => older.timestamp - newer.timestamp)
  }

interface Search {
  readonly call: Call
  readonly filter: Filter
  /** How many rows to find at most. */
  readonly limit: number
}

/**
 * The rows that match, page by page. Runs that end or begin meanwhile move the others, so that one may be missed, or
 * come twice.
 */
const search = async function* (api: Api, wanted: Search, offset = 0): AsyncGenerator {
  const limit = Math.min(RUNS_PER_REQUEST, wanted.limit - offset)
  if (limit <= 0) return
  const page: Filter = { ...wanted.filter, sort: 'ID_DESC', offset, limit }
  const rows = await rowsOf(api, wanted.call, page)
  yield* rows
  if (rows.length === limit) yield* search(api, wanted, offset + limit)
}

const inProcessOf = (parentFlowRunIds: readonly string[]): Filter => ({
  flow_runs: {
    parent_flow_run_id: { any_: [...parentFlowRunIds] },
    deployment_id: { is_null_: true },
    state: ALIVE,
  },
})

const searchInProcessOf = async (api: Api, flowRunId: string): Promise<readonly FlowRun[]> => {
  const call = reading('inProcessSubflowsOf', new AbortController().signal, flowRunId)
  const found: FlowRun[] = []
  const wanted = { call, filter: inProcessOf([flowRunId]), limit: Number.POSITIVE_INFINITY }
  for await (const row of search(api, wanted)) found.push(parseFlowRun(row))
  return found.filter(isInProcess)
}

/**
 * Of many runs that die together hardly one has any, and a row does not say whose it is: one request asks whether
 * there is any at all, and only then each is asked for.
 */
const mayHaveInProcess = async (api: Api, flowRunIds: readonly string[]): Promise<boolean> => {
  if (flowRunIds.length === 1) return true
  const call = reading('inProcessSubflowsOf', new AbortController().signal)
  const rows = await rowsOf(api, call, { ...inProcessOf(flowRunIds), limit: 1 })
  return rows.length > 0
}

/** Each run has an answer of its own: what makes no sense about one is no trouble for the others. */
const searchInProcessOfAll =
  (api: Api) =>
  async (flowRunIds: readonly string[]): Promise<readonly Promise<readonly FlowRun[]>[]> => {
    const mayHaveAny = await mayHaveInProcess(api, flowRunIds)
    return flowRunIds.map(async id => (mayHaveAny ? searchInProcessOf(api, id) : []))
  }

/**
 * Their parent is Crashed already, and nobody waits for them: where deaths come one after the other, those of half a
 * second are asked about together, as they are told of. One that comes alone is asked about at once.
 */
const UNHURRIED: Gathering = {
  aloneMs: 5,
  company: { pauseMs: 500, longestMs: 500, lingerMs: 500 },
  requests: 1,
}

/**
 * Subflow runs that live in the process of another run, and die with it: plain calls of a flow, which have
 * neither deployment nor infrastructure; also those that were waiting there for a retry of their own. No service of
 * Prefect's ends them (measured on 3.8.8). Asked together, the requests are shared, so that no caller's signal ends
 * them.
 */
export const createInProcessSubflowsOf = (api: Api) => {
  const look = createBatching<readonly FlowRun[]>({
    ask: searchInProcessOfAll(api),
    most: RUNS_PER_REQUEST,
    gathering: UNHURRIED,
  })
  return async (flowRunId: string, signal: AbortSignal): Promise<readonly FlowRun[]> =>
    abortable(look(flowRunId), signal)
}

/** Alive as far as Prefect knows; of the scheduled ones those that a process was about to retry. */
const ALIVE: components['schemas']['FlowRunFilterState'] = {
  operator: 'or_',
  type: { any_: ['RUNNING', 'PENDING', 'CANCELLING'] },
  name: { any_: ['AwaitingRetry'] },
}

export interface LiveSubflowRuns {
  readonly workPools?: readonly string[]
  /** How many to hand out at most. */
  readonly limit: number
}

const filterFor = ({ workPools }: LiveSubflowRuns): Filter => ({
  flow_runs: {
    state: ALIVE,
    parent_task_run_id: { is_null_: false },
  },
  ...(workPools === undefined ? {} : { work_pools: { name: { any_: [...workPools] } } }),
})

/** The run, or undefined (and a line in the log) where the row makes no sense: the others are still wanted. */
const sensible =
  (logger: Logger) =>
  (row: unknown): readonly FlowRun[] => {
    try {
      return [parseFlowRun(row)]
    } catch (err) {
      logger.error({ err }, 'leaving out a flow run that makes no sense')
      return []
    }
  }

/** Live subflow runs, read as they are asked for; one that was missed is there in the next sweep. In-process ones, too. */
export const createLiveSubflowRuns = (api: Api, logger: Logger) =>
  async function* (which: LiveSubflowRuns, signal: AbortSignal): AsyncGenerator<FlowRun> {
    const call = reading('liveSubflowRuns', signal)
    const rows = search(api, { call, filter: filterFor(which), limit: which.limit })
    for await (const row of rows) yield* sensible(logger)(row)
  }
