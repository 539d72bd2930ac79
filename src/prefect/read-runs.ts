import type { FlowRun } from '../core/flow-run.ts'
import { abortable } from '../batching/abortable.ts'
import { createBatching } from '../batching/batching.ts'
import type { Gathering } from '../batching/batching.ts'
import { RUNS_PER_REQUEST } from './parents.ts'

type ReadOne = (flowRunId: string, signal: AbortSignal) => Promise<FlowRun | undefined>
type ReadMany = (ids: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, FlowRun>>

/** Deaths come in bursts. Long enough to catch one, far below what anybody would notice. */
const WINDOW_MS = 10

/**
 * One request at a time: where Prefect is slow, or the rate limit lets a read wait for its turn, all that is asked
 * for meanwhile is read with the next one, and later than it was asked for, so that it is as fresh as if read alone.
 */
const IN_TURN: Gathering = {
  aloneMs: WINDOW_MS,
  company: { pauseMs: WINDOW_MS, longestMs: WINDOW_MS, lingerMs: 0 },
  requests: 1,
}

/** Whoever asked may be gone; the others still want their answer. Longer than the client's own back-off. */
const DEADLINE_MS = 60_000

/**
 * Reads flow runs fresh, those that are asked for within a moment in one request. Nothing is cached. One row that
 * makes no sense would spoil the whole answer: then each run is read by itself, and only that one fails. It rejects as
 * soon as the signal aborts: a leader that has to stop does not wait for a Prefect that hangs.
 */
export function createReadRuns(reads: { one: ReadOne; many: ReadMany }): ReadOne {
  const read = createBatching<FlowRun | undefined>({
    ask: ids => readTogether(ids, reads, AbortSignal.timeout(DEADLINE_MS)),
    most: RUNS_PER_REQUEST,
    gathering: IN_TURN,
  })
  return async (flowRunId, signal) => abortable(read(flowRunId), signal)
}

async function readTogether(
  ids: readonly string[],
  { one, many }: { one: ReadOne; many: ReadMany },
  signal: AbortSignal,
): Promise<readonly (FlowRun | undefined | Promise<FlowRun | undefined>)[]> {
  if (ids.length === 1) return Promise.all(ids.map(id => one(id, signal)))
  try {
    const runs = await many([...new Set(ids)], signal)
    return ids.map(id => runs.get(id))
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    return ids.map(async id => one(id, signal))
  }
}
