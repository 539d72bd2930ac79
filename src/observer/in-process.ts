import type { FlowRun } from '../core/flow-run.ts'
import { write } from './write.ts'
import type { Writes } from './writes.ts'

/** What ending the subflows of a dead run needs. */
export interface InProcessWrites extends Writes {
  readonly inProcessSubflowsOf: (flowRunId: string, signal: AbortSignal) => Promise<readonly FlowRun[]>
}

/** A run that is dead, and with it whatever ran in its process. */
export interface DeadParent {
  readonly flowRunId: string
  /** What the verdict rests on; see `transitionIdOf`. */
  readonly basis: string
  /** The state message of the subflows: why the process died. */
  readonly message: string
  readonly depth?: number
}

/** Deep enough for any flow that a person wrote; a cycle in Prefect's data ends here. */
const DEEPEST = 10

/**
 * Crashes the subflow runs that ran inside a dead run's process, and theirs: they have no Job of their own and no
 * service of Prefect's ends them (measured on 3.8.8: Running 25 s later, and for ever). The innermost come first: a
 * subflow is only found through a run that is still alive, by whoever goes on after an interruption.
 *
 * @returns the ids of those that were moved.
 */
export async function crashInProcessSubflows(
  { flowRunId, basis, message, depth = 0 }: DeadParent,
  writes: InProcessWrites,
  signal: AbortSignal,
): Promise<readonly string[]> {
  if (depth === DEEPEST) return []
  const subflows = await writes.inProcessSubflowsOf(flowRunId, signal)
  const ended = await Promise.all(
    subflows.map(async ({ id, state: observed }) => {
      const inner = await crashInProcessSubflows(
        { flowRunId: id, basis, message, depth: depth + 1 },
        writes,
        signal,
      )
      const proposal = { type: 'CRASHED', name: 'Crashed', message } as const
      const written = await write({ flowRunId: id, basis, observed, proposal }, writes, signal)
      return written.kind === 'moved' ? inner.concat(id) : inner
    }),
  )
  return ended.flat()
}
