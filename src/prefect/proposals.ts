import type { State, StateType } from '../core/flow-run.ts'
import type { Proposal, StateProposal } from '../core/proposal.ts'
import { parseOrchestrated } from './answers.ts'
import { dataIfFound, reading } from './api.ts'
import type { Api } from './api.ts'
import type { Call, Repeat } from './sender.ts'
import { storable } from './text.ts'

/** Proposals whose repetition Prefect recognises by the transition id and turns down; see `Repeat`. */
const REPEATABLE: ReadonlySet<StateType> = new Set(['CRASHED', 'CANCELLED'])

const repeatOf = ({ type, transitionId }: StateProposal): Repeat =>
  transitionId !== undefined && REPEATABLE.has(type) ? 'always' : 'ifUndone'

const bodyOf = ({ type, name, message, transitionId, scheduledTime }: StateProposal) => ({
  // Never forced: a forced CRASHED overwrites COMPLETED.
  force: false,
  state: {
    type,
    ...(name === undefined ? {} : { name }),
    ...(message === undefined ? {} : { message: storable(message) }),
    state_details: {
      ...(transitionId === undefined ? {} : { transition_id: transitionId }),
      ...(scheduledTime === undefined ? {} : { scheduled_time: new Date(scheduledTime).toISOString() }),
    },
  },
})

/** Our own state under our own transition id: this proposal was made before. Prefect's reason is only prose. */
const isOurs = (state: State, { type, transitionId }: StateProposal): boolean =>
  transitionId !== undefined && state.transitionId === transitionId && state.type === type

const acceptance = (state: State | undefined, flowRunId: string): Proposal => {
  if (state === undefined)
    throw new TypeError(`Prefect accepted a state of flow run ${flowRunId} without saying which`)
  return { kind: 'accepted', state }
}

const rejection = (state: State | undefined, reason: string, proposal: StateProposal): Proposal => {
  if (state === undefined) return { kind: 'rejected', reason }
  return isOurs(state, proposal) ? { kind: 'alreadyMade', state } : { kind: 'rejected', reason, state }
}

/** Reads what `set_state` answered: a 2xx whatever the rules said (201 or 200; the body tells). */
export const parseProposal = (data: unknown, flowRunId: string, proposal: StateProposal): Proposal => {
  const { status, state, reason, delayMs } = parseOrchestrated(data, flowRunId)
  switch (status) {
    case 'ACCEPT':
      return acceptance(state, flowRunId)
    case 'REJECT':
      return rejection(state, reason, proposal)
    case 'ABORT':
      return { kind: 'aborted', reason }
    case 'WAIT':
      return { kind: 'wait', reason, delayMs }
  }
}

/** Proposes a state for a flow run; the server decides. */
export const createProposeState =
  ({ http, send }: Api) =>
  async (flowRunId: string, proposal: StateProposal, signal: AbortSignal): Promise<Proposal> => {
    const call: Call = {
      ...reading('proposeState', signal, flowRunId),
      repeat: repeatOf(proposal),
    }
    const result = await http.POST('/flow_runs/{id}/set_state', {
      params: { path: { id: flowRunId } },
      body: bodyOf(proposal),
      fetch: send(call),
    })
    const data = dataIfFound(call, result)
    return data === undefined ? { kind: 'notFound' } : parseProposal(data, flowRunId, proposal)
  }
