import type { State, StateType } from '../core/flow-run.ts'
import { isFinal } from '../core/flow-run.ts'
import type { StateProposal } from '../core/proposal.ts'
import type { Writes } from './writes.ts'

/** A state that ours has replaced. */
export interface Replaced {
  readonly flowRunId: string
  readonly target: State
  /** Ours, in which the run stands. */
  readonly from: State
  /** The run's history, in which both are. */
  readonly states: readonly State[]
  /** How often to look again at most. */
  readonly rounds?: number
}

/** Somebody who writes between each two requests of ours does not need us. */
const MOST_ROUNDS = 3

/**
 * Brings a run back to the state that ours replaced, and looks again: what somebody wrote meanwhile is newer still.
 *
 * @returns whether the newest state of others stands.
 */
export async function putBack(replaced: Replaced, writes: Writes, signal: AbortSignal): Promise<boolean> {
  const { flowRunId, states, rounds = MOST_ROUNDS } = replaced
  const made = await takeAnyWay(replaced, writes, signal)
  const last = made.at(-1)
  if (!last) return false
  const history = await writes.readStates(flowRunId, signal)
  const known = new Set([...states, ...made].map(({ id }) => id))
  const newer = history.findLast(({ id }) => !known.has(id))
  if (!newer) return true
  const run = await writes.readFlowRun(flowRunId, signal)
  if (run?.state.id !== last.id) return true
  const next = { flowRunId, target: newer, from: last, states: history, rounds: rounds - 1 }
  return rounds > 1 && putBack(next, writes, signal)
}

/** The states that the first passable way went over; none where there was no way. */
async function takeAnyWay(
  replaced: Replaced,
  writes: Writes,
  signal: AbortSignal,
): Promise<readonly State[]> {
  for (const way of waysTo(replaced)) {
    // oxlint-disable-next-line no-await-in-loop -- the second way only where the first one is barred
    const made = await take(way, { ...replaced, writes, signal })
    if (made.length === way.length) return made
  }
  return []
}

async function take(
  way: readonly StateProposal[],
  { flowRunId, writes, signal }: { flowRunId: string; writes: Writes; signal: AbortSignal },
): Promise<readonly State[]> {
  const made: State[] = []
  for (const proposal of way) {
    // oxlint-disable-next-line no-await-in-loop -- each step leads to the next
    const answer = await writes.proposeState(flowRunId, proposal, signal)
    if (answer.kind !== 'accepted') return made
    made.push(answer.state)
  }
  return made
}

/**
 * The states to propose one after the other, as Prefect's rules have it (server/orchestration/core_policy.py of
 * 3.8.8): only a Running run can be Paused; a Scheduled one can be Running only when its time has come, unless it is
 * Pending in between, with another time; a final one without a deployment cannot be Scheduled, but Running.
 */
function waysTo({ target, from }: Replaced): readonly (readonly StateProposal[])[] {
  const direct = proposalOf(target)
  const past = { scheduledTime: target.timestamp }
  const started: readonly StateProposal[] = from.type === 'SCHEDULED' ? [{ type: 'PENDING', ...past }] : []
  const ways: Partial<Record<StateType, readonly (readonly StateProposal[])[]>> = {
    PENDING: [[{ ...direct, ...past }]],
    RUNNING: [[...started, direct]],
    PAUSED: [[...started, { type: 'RUNNING' }, direct]],
    SCHEDULED: [[direct], ...(isFinal(from) ? [[{ type: 'RUNNING' } as const, direct]] : [])],
  }
  return ways[target.type] ?? [[direct]]
}

const proposalOf = ({ type, name, message, scheduledTime }: State): StateProposal => ({
  type,
  name,
  ...(message !== undefined && { message }),
  ...(scheduledTime !== undefined && { scheduledTime }),
})
