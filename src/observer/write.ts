import { v5 as uuid5 } from 'uuid'
import type { State } from '../core/flow-run.ts'
import type { Proposal, StateProposal } from '../core/proposal.ts'

/** What moving a run needs of Prefect. Each rejects when nothing is known about the outcome. */
export interface Writes {
  readonly proposeState: (
    flowRunId: string,
    proposal: StateProposal,
    signal: AbortSignal,
  ) => Promise<Proposal>
  readonly readStates: (flowRunId: string, signal: AbortSignal) => Promise<readonly State[]>
}

/** What became of a proposal of ours. */
export type Written =
  /** Our state stands, in place of the one that was decided on. */
  | { readonly kind: 'moved'; readonly state: State }
  /** Somebody was faster: their state was replaced by ours, and stands again where that was possible. */
  | { readonly kind: 'overtaken'; readonly by: State; readonly isRestored: boolean }
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
  return {
    kind: 'refused',
    answer: answer.kind,
    reason: 'reason' in answer ? answer.reason : 'no such flow run',
  }
}

/** A state of ours in a run's history, whose place is to be looked at. */
export interface Placed {
  readonly flowRunId: string
  readonly basis: string
  readonly state: State
}

/**
 * Whether the state before ours is the one we decided on; where it is not, it is put back. Needs no memory: the
 * transition id tells which state that was. Safe to repeat.
 */
export async function settle(placed: Placed, writes: Writes, signal: AbortSignal): Promise<Written> {
  const states = await writes.readStates(placed.flowRunId, signal)
  const place = states.findIndex(({ id }) => id === placed.state.id)
  const before = states[place - 1]
  if (!before || isDecidedOn(before, placed)) return { kind: 'moved', state: placed.state }
  if (!states.some(state => isDecidedOn(state, placed))) return { kind: 'moved', state: placed.state }
  const isLast = place === states.length - 1
  return {
    kind: 'overtaken',
    by: before,
    isRestored: isLast && (await putBack(placed.flowRunId, before, { writes, signal })),
  }
}

const isDecidedOn = (state: State, { basis, state: ours }: Placed): boolean =>
  transitionIdOf(basis, state) === ours.transitionId

/** Crashed leads to every live state but Paused, which only a Running run reaches (measured on 3.8.8). */
async function putBack(
  flowRunId: string,
  state: State,
  { writes, signal }: { writes: Writes; signal: AbortSignal },
): Promise<boolean> {
  if (state.type === 'PAUSED') await writes.proposeState(flowRunId, { type: 'RUNNING' }, signal)
  const answer = await writes.proposeState(flowRunId, proposalOf(state), signal)
  return answer.kind === 'accepted'
}

const proposalOf = ({ type, name, message, scheduledTime }: State): StateProposal => ({
  type,
  name,
  ...(message !== undefined && { message }),
  ...(scheduledTime !== undefined && { scheduledTime }),
})
