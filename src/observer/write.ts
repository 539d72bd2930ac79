import { v5 as uuid5 } from 'uuid'
import type { State } from '../core/flow-run.ts'
import type { Proposal, StateProposal } from '../core/proposal.ts'
import { putBack } from './put-back.ts'
import type { Writes } from './writes.ts'

/** What became of a proposal of ours. */
export type Written =
  /** The state stands, in place of the one that was decided on; `isOurs` unless somebody else made it. */
  | { readonly kind: 'moved'; readonly state: State; readonly isOurs: boolean }
  /** Somebody was faster: their state was replaced by ours, and stands again where that was possible. */
  | { readonly kind: 'overtaken'; readonly by: State; readonly isRestored: boolean }
  /** A newer state than the one that was decided on stands: ours was not made, or has been replaced. */
  | { readonly kind: 'superseded'; readonly by: State }
  /** Prefect's rules said no: the run is final, cancelling or gone. */
  | {
      readonly kind: 'refused'
      readonly answer: Exclude<Proposal['kind'], 'accepted' | 'alreadyMade'>
      readonly reason: string
    }

export interface Move {
  readonly flowRunId: string
  /** The Job that the verdict rests on, or the run itself where none is known: the namespace of transition ids. */
  readonly basis: string
  /** The state that was decided on. */
  readonly observed: State
  readonly proposal: Omit<StateProposal, 'transitionId'>
}

/**
 * The transition id of a move: made of what it rests on, so that the same decision, taken again after a lost
 * answer or by another process, is the same transition. Prefect turns a repetition down and echoes it.
 */
export const transitionIdOf = (basis: string, observed: Pick<State, 'id'>): string =>
  uuid5(observed.id, basis)

/**
 * Proposes a state without force and looks at the history afterwards. Prefect has no compare-and-set: between our
 * read and our write somebody else may have written, and the newer state is what counts.
 */
export async function write(move: Move, writes: Writes, signal: AbortSignal): Promise<Written> {
  const { flowRunId, basis, observed, proposal } = move
  const transitionId = transitionIdOf(basis, observed)
  const answer = await writes.proposeState(flowRunId, { ...proposal, transitionId }, signal)
  if (answer.kind === 'accepted' || answer.kind === 'alreadyMade')
    return settle({ flowRunId, basis, state: answer.state }, writes, signal)
  const parked = parkedBy(answer, proposal)
  if (parked) return settle({ flowRunId, basis, state: { ...parked, transitionId } }, writes, signal)
  return {
    kind: 'refused',
    answer: answer.kind,
    reason: 'reason' in answer ? answer.reason : 'no such flow run',
  }
}

/**
 * Failed is proposed to a Crashed run only. Prefect parks a Running one instead, as a retry without a transition id
 * (measured on 3.8.8): then somebody had set the run going again, and that state is what is to be put back.
 */
function parkedBy(answer: Proposal, { type }: Pick<StateProposal, 'type'>): State | undefined {
  if (answer.kind !== 'rejected' || type !== 'FAILED') return undefined
  return answer.state?.name === 'AwaitingRetry' ? answer.state : undefined
}

/** A state of ours in a run's history, whose place is to be looked at. */
export interface Placed {
  readonly flowRunId: string
  readonly basis: string
  readonly state: State
}

/**
 * Whether ours came right after the state that we decided on; what it replaced otherwise is put back. Needs no
 * memory: the transition id tells which state that was. Safe to repeat.
 *
 * The history says who wrote, not in which order: Prefect takes a state's time before it waits for the run's lock.
 * Who wrote last is what the run itself tells, read after the history.
 */
export async function settle(placed: Placed, writes: Writes, signal: AbortSignal): Promise<Written> {
  const { flowRunId, state } = placed
  const states = await writes.readStates(flowRunId, signal)
  const others = othersSince(placed, states)
  const newer = others?.at(-1)
  if (!newer) return { kind: 'moved', state, isOurs: others !== undefined }
  const run = await writes.readFlowRun(flowRunId, signal)
  if (run?.state.id !== state.id) return { kind: 'superseded', by: run?.state ?? newer }
  const isRestored = await putBack({ flowRunId, target: newer, from: state, states }, writes, signal)
  return { kind: 'overtaken', by: newer, isRestored }
}

/** What others have written since the state that was decided on; nothing where ours is not of our making. */
function othersSince({ basis, state: ours }: Placed, states: readonly State[]): readonly State[] | undefined {
  const decidedOn = states.findLastIndex(state => transitionIdOf(basis, state) === ours.transitionId)
  if (decidedOn === -1) return undefined
  return states
    .slice(decidedOn + 1)
    .filter(({ id, transitionId }) => id !== ours.id && transitionId !== ours.transitionId)
}
