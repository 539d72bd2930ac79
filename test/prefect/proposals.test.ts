import t from 'tap'

import { parseProposal } from '../../src/prefect/proposals.ts'
import type { StateProposal } from '../../src/core/proposal.ts'

const crash: StateProposal = { type: 'CRASHED', transitionId: 'ours' }

const stateOf = (type: string, transitionId: string | null) => ({
  id: 'state',
  type,
  name: type,
  timestamp: '2026-01-01T00:00:00Z',
  state_details: { transition_id: transitionId },
})

const answer = (status: string, state: unknown, details = {}) => ({
  status,
  state,
  details: { reason: 'why', ...details },
})

interface Case {
  readonly answer: unknown
  readonly proposal?: StateProposal
  readonly kind: string
}

const cases: Readonly<Record<string, Case>> = {
  'an accepted state': { answer: answer('ACCEPT', stateOf('CRASHED', 'ours')), kind: 'accepted' },
  'our own state again': { answer: answer('REJECT', stateOf('CRASHED', 'ours')), kind: 'alreadyMade' },
  'somebody else’s crash': { answer: answer('REJECT', stateOf('CRASHED', 'theirs')), kind: 'rejected' },
  'another state that kept our transition id': {
    answer: answer('REJECT', stateOf('FAILED', 'ours')),
    kind: 'rejected',
  },
  'a state without transition id, proposed without one': {
    answer: answer('REJECT', stateOf('CRASHED', null)),
    proposal: { type: 'CRASHED' },
    kind: 'rejected',
  },
  'a rejection without a state': { answer: answer('REJECT', null), kind: 'rejected' },
  'an abortion': { answer: answer('ABORT', null), kind: 'aborted' },
  'a wait': { answer: answer('WAIT', null, { delay_seconds: 2 }), kind: 'wait' },
}

for (const [sentence, { answer, proposal = crash, kind }] of Object.entries(cases)) {
  t.test(`${sentence}: ${kind}`, async t => {
    t.equal(parseProposal(answer, 'run', proposal).kind, kind)
  })
}

t.test('an acceptance that does not say what was accepted is an error', async t => {
  t.throws(() => parseProposal(answer('ACCEPT', null), 'run', crash), {
    name: 'TypeError',
    message: 'Prefect accepted a state of flow run run without saying which',
  })
})
