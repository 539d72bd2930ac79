import DataLoader from 'dataloader'
import type { FlowRun } from '../core/flow-run.ts'
import { abortable } from './abortable.ts'

type ReadOne = (flowRunId: string, signal: AbortSignal) => Promise<FlowRun | undefined>
type ReadMany = (ids: readonly string[], signal: AbortSignal) => Promise<ReadonlyMap<string, FlowRun>>

/** Deaths come in bursts. Long enough to catch one, far below what anybody would notice. */
const WINDOW_MS = 10

/** Rows hold parameters and context, so their size is the user's: Prefect's own page of 200 can be megabytes. */
const MOST = 50

/** Whoever asked may be gone; the others still want their answer. Longer than the client's own back-off. */
const DEADLINE_MS = 60_000

/**
 * Reads flow runs fresh, those that are asked for within a moment in one request. Nothing is cached. One row that
 * makes no sense would spoil the whole answer: then each run is read by itself, and only that one fails. It rejects as
 * soon as the signal aborts: a leader that has to stop does not wait for a Prefect that hangs.
 */
export function createReadRuns(reads: { one: ReadOne; many: ReadMany }): ReadOne {
  const loader = new DataLoader<string, FlowRun | undefined>(
    ids => readTogether(ids, reads, AbortSignal.timeout(DEADLINE_MS)),
    {
      cache: false,
      maxBatchSize: MOST,
      batchScheduleFn: callback => {
        setTimeout(callback, WINDOW_MS)
      },
    },
  )
  return async (flowRunId, signal) => abortable(loader.load(flowRunId), signal)
}

async function readTogether(
  ids: readonly string[],
  { one, many }: { one: ReadOne; many: ReadMany },
  signal: AbortSignal,
): Promise<(FlowRun | undefined | Error)[]> {
  if (ids.length === 1) return Promise.all(ids.map(id => one(id, signal)))
  try {
    const runs = await many([...new Set(ids)], signal)
    return ids.map(id => runs.get(id))
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    const settled = await Promise.allSettled(ids.map(id => one(id, signal)))
    return settled.map(result => (result.status === 'fulfilled' ? result.value : asError(result.reason)))
  }
}

const asError = (reason: unknown): Error => (reason instanceof Error ? reason : new Error(String(reason)))
