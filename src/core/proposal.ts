import type { State, StateType } from './flow-run.ts'
import type { Instant } from './objects.ts'

/** A state to propose for a flow run, never forced. */
export interface StateProposal {
  readonly type: StateType
  /** Prefect's default name of the type when absent. */
  readonly name?: string
  readonly message?: string
  /** A UUID made of what was decided on (uuid5): a repetition is then recognised as such by Prefect. */
  readonly transitionId?: string
  /** For SCHEDULED only. */
  readonly scheduledTime?: Instant
}

/** What Prefect's orchestration rules made of a proposal. All of these are answers, none is an error. */
export type Proposal =
  | { readonly kind: 'accepted'; readonly state: State }
  /** Our own proposal, with this transition id, had been made before: its answer was lost. */
  | { readonly kind: 'alreadyMade'; readonly state: State }
  /** Turned down; `state` is where the run stands now, possibly put there by a rule instead of ours. */
  | { readonly kind: 'rejected'; readonly reason: string; readonly state?: State }
  /** Turned down, nothing was written: typically the run is final already. */
  | { readonly kind: 'aborted'; readonly reason: string }
  | { readonly kind: 'wait'; readonly reason: string; readonly delayMs: number }
  | { readonly kind: 'notFound' }
