import type { FlowRun, State } from '../core/flow-run.ts'
import type { Proposal, StateProposal } from '../core/proposal.ts'

/** What moving a run needs of Prefect. Each rejects when nothing is known about the outcome. */
export interface Writes {
  readonly proposeState: (
    flowRunId: string,
    proposal: StateProposal,
    signal: AbortSignal,
  ) => Promise<Proposal>
  readonly readStates: (flowRunId: string, signal: AbortSignal) => Promise<readonly State[]>
  readonly readFlowRun: (flowRunId: string, signal: AbortSignal) => Promise<FlowRun | undefined>
}
