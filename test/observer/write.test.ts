import t from 'tap'
import type { Proposal, StateProposal } from '../../src/core/proposal.ts'
import type { State } from '../../src/core/flow-run.ts'
import type { Placed, Written } from '../../src/observer/write.ts'
import { settle, transitionIdOf, write } from '../../src/observer/write.ts'
import { at } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run, state } from '../core/build/runs.ts'
import type { Interference } from './scene.ts'
import { createHistory, JOB_UID, signal } from './scene.ts'

const OBSERVED = run().state
const TRANSITION = transitionIdOf(JOB_UID, OBSERVED)

const CRASHED = { type: 'CRASHED', name: 'Crashed', message: 'why' } as const
const RETRY = { type: 'SCHEDULED', name: 'AwaitingRetry', scheduledTime: at(90) } as const
const FAILED = { type: 'FAILED', name: 'Failed' } as const

async function writeIn(proposal: Omit<StateProposal, 'transitionId'>, interference: Interference = {}) {
  const history = createHistory(OBSERVED, interference)
  const move = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, observed: OBSERVED, proposal }
  const written = await write(move, history.writes, signal)
  return { written, ...history }
}

/** Somebody sets states, one after the other, around the nth proposal. */
function meddle(when: 'before' | 'after', ...newer: readonly (readonly [nth: number, state: State])[]) {
  const history: { push?: (state: State) => void } = {}
  const interference: Interference = {
    [when]: (_proposal: StateProposal, n: number) => {
      for (const [nth, state] of newer) if (nth === n) history.push?.(state)
    },
  }
  return { history, interference }
}

async function writeAgainst(
  proposal: Omit<StateProposal, 'transitionId'>,
  { history, interference }: ReturnType<typeof meddle>,
  answer?: Interference['answer'],
) {
  const made = createHistory(OBSERVED, { ...interference, ...(answer && { answer }) })
  history.push = made.push
  const move = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, observed: OBSERVED, proposal }
  return { written: await write(move, made.writes, signal), ...made }
}

t.test('a transition id', t => {
  t.equal(transitionIdOf(JOB_UID, OBSERVED), TRANSITION, 'is the same for the same decision')
  t.not(transitionIdOf(FLOW_RUN_ID, OBSERVED), TRANSITION, 'is another for another Job')
  t.not(transitionIdOf(JOB_UID, state('Running@6')), TRANSITION, 'is another for another state')
  t.match(TRANSITION, /^[0-9a-f]{8}-[0-9a-f]{4}-5/, 'is a UUID of version 5')
  t.end()
})

t.test(
  'accepted, in place of the state that was decided on: moved, with one look at the history',
  async t => {
    const { written, proposals, asked } = await writeIn(CRASHED)
    t.match(written, { kind: 'moved', state: { ...CRASHED, transitionId: TRANSITION } })
    t.strictSame(proposals, [{ ...CRASHED, transitionId: TRANSITION }], 'with a transition id')
    t.strictSame(asked, ['proposeState', 'readStates'])
  },
)

t.test('a repetition that Prefect recognises is looked at like a first time', async t => {
  const { written } = await writeIn(CRASHED, {
    answer: () => ({ kind: 'alreadyMade', state: { ...state('Crashed@40'), transitionId: TRANSITION } }),
  })
  t.match(written, { kind: 'moved', state: { name: 'Crashed' } })
})

t.test('what Prefect refuses is refused', async t => {
  const answers: readonly (readonly [Proposal, Written])[] = [
    [
      { kind: 'aborted', reason: 'Run is already in terminal state COMPLETED.' },
      { kind: 'refused', answer: 'aborted', reason: 'Run is already in terminal state COMPLETED.' },
    ],
    [
      { kind: 'rejected', reason: 'cancelling', state: state('Cancelling@50') },
      { kind: 'refused', answer: 'rejected', reason: 'cancelling' },
    ],
    [
      { kind: 'wait', reason: 'Scheduled time is in the future', delayMs: 5000 },
      { kind: 'refused', answer: 'wait', reason: 'Scheduled time is in the future' },
    ],
    [{ kind: 'notFound' }, { kind: 'refused', answer: 'notFound', reason: 'no such flow run' }],
  ]
  for (const [answer, refused] of answers) {
    const { written, asked } = await writeIn(CRASHED, { answer: () => answer })
    t.strictSame(written, refused)
    t.strictSame(asked, ['proposeState'], `${answer.kind}: nothing was written, nothing is to be looked at`)
  }
})

t.test('somebody was faster: their state stands again, by the way that Prefect allows', async t => {
  const past = { scheduledTime: at(50) }
  const cases: Readonly<Record<string, readonly [typeof CRASHED | typeof RETRY, string, unknown[]]>> = {
    'Crashed over Running': [CRASHED, 'Running@50', [{ type: 'RUNNING', name: 'Running' }]],
    'Crashed over Submitting': [CRASHED, 'Submitting@50', [{ type: 'PENDING', name: 'Submitting' }]],
    'Crashed over AwaitingRetry': [
      CRASHED,
      'AwaitingRetry@50',
      [{ type: 'SCHEDULED', name: 'AwaitingRetry' }],
    ],
    'Crashed over Paused': [CRASHED, 'Paused@50', [{ type: 'RUNNING' }, { type: 'PAUSED', name: 'Paused' }]],
    'a new attempt over Running': [
      RETRY,
      'Running@50',
      [
        { type: 'PENDING', ...past },
        { type: 'RUNNING', name: 'Running' },
      ],
    ],
    'a new attempt over Submitting': [
      RETRY,
      'Submitting@50',
      [{ type: 'PENDING', name: 'Submitting', ...past }],
    ],
    'a new attempt over Paused': [
      RETRY,
      'Paused@50',
      [{ type: 'PENDING', ...past }, { type: 'RUNNING' }, { type: 'PAUSED', name: 'Paused' }],
    ],
    'a new attempt over Completed': [RETRY, 'Completed@50', [{ type: 'COMPLETED', name: 'Completed' }]],
  }
  for (const [sentence, [ours, theirs, steps]] of Object.entries(cases)) {
    const newer = state(theirs)
    const { written, proposals, current } = await writeAgainst(ours, meddle('before', [1, newer]))
    t.strictSame(written, { kind: 'overtaken', by: newer, isRestored: true }, sentence)
    t.match(proposals.slice(1), steps, `${sentence}: the way back`)
    t.equal(proposals.length, steps.length + 1, `${sentence}: no further`)
    t.ok(
      proposals.slice(1).every(({ transitionId }) => transitionId === undefined),
      sentence,
    )
    t.equal(current().name, newer.name, `${sentence}: where it ends`)
  }
})

t.test('what a state says and when it is due is put back, too', async t => {
  const newer: State = { ...state('AwaitingRetry@50'), message: 'not our words', scheduledTime: at(300) }
  const { proposals } = await writeAgainst(CRASHED, meddle('before', [1, newer]))
  t.strictSame(proposals.at(-1), {
    type: 'SCHEDULED',
    name: 'AwaitingRetry',
    message: 'not our words',
    scheduledTime: at(300),
  })
})

t.test('a run without a deployment can be Scheduled again only by way of Running', async t => {
  const { written, proposals } = await writeAgainst(
    CRASHED,
    meddle('before', [1, state('AwaitingRetry@50')]),
    (_proposal, n) =>
      n === 2
        ? { kind: 'aborted', reason: 'Cannot reschedule a run without an associated deployment.' }
        : undefined,
  )
  t.match(written, { kind: 'overtaken', isRestored: true })
  t.match(
    proposals.slice(1).map(({ type }) => type),
    ['SCHEDULED', 'RUNNING', 'SCHEDULED'],
  )
})

t.test('the last of several that were faster is the one that counts', async t => {
  const { written } = await writeAgainst(
    CRASHED,
    meddle('before', [1, state('Submitting@50')], [1, state('Running@51')]),
  )
  t.match(written, { kind: 'overtaken', by: { name: 'Running' } })
})

t.test('somebody moved on after ours: theirs is left alone', async t => {
  const { written, proposals } = await writeAgainst(CRASHED, meddle('after', [1, state('Running@120')]))
  t.match(written, { kind: 'superseded', by: { name: 'Running' } })
  t.equal(proposals.length, 1)
})

t.test('somebody was faster, and moved on after ours, too: nothing is put back', async t => {
  const before = meddle('before', [1, state('Running@50')])
  const after = meddle('after', [1, state('Completed@130')])
  const history = createHistory(OBSERVED, { ...before.interference, ...after.interference })
  before.history.push = history.push
  after.history.push = history.push
  const move = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, observed: OBSERVED, proposal: CRASHED }
  t.match(await write(move, history.writes, signal), { kind: 'superseded', by: { name: 'Completed' } })
  t.equal(history.proposals.length, 1)
})

t.test('who wrote last is told by the run, not by the times in the history', async t => {
  // Ours got its time first, and waited for the lock; theirs was written in between with a later time.
  const ours: State = { ...state('Crashed@50'), transitionId: TRANSITION }
  const theirs = state('Running@51')
  const history = createHistory(OBSERVED)
  history.push(theirs)
  history.push(ours)
  const sorted = [OBSERVED, ours, theirs]
  const writes = { ...history.writes, readStates: async () => [...sorted, ...history.states.slice(3)] }
  const written = await settle({ flowRunId: FLOW_RUN_ID, basis: JOB_UID, state: ours }, writes, signal)
  t.match(written, { kind: 'overtaken', by: { name: 'Running' }, isRestored: true })
})

const refuse =
  (nth: number): Interference['answer'] =>
  (_proposal, n) =>
    n >= nth ? { kind: 'aborted', reason: 'terminal' } : undefined

t.test('while a state is put back', async t => {
  const faster = state('Running@50')
  t.test('somebody completes the run right before: that is newer still', async t => {
    const completed = state('Completed@130')
    const { written, current } = await writeAgainst(CRASHED, meddle('before', [1, faster], [2, completed]))
    t.match(written, { kind: 'overtaken', by: { name: 'Running' }, isRestored: true })
    t.equal(current().name, 'Completed')
  })
  t.test('somebody completes the run right after: that stands', async t => {
    const { history, interference } = meddle('before', [1, faster])
    const after = meddle('after', [2, state('Completed@130')])
    const both = createHistory(OBSERVED, { ...interference, ...after.interference })
    history.push = both.push
    after.history.push = both.push
    const move = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, observed: OBSERVED, proposal: CRASHED }
    const written = await write(move, both.writes, signal)
    t.match(written, { kind: 'overtaken', isRestored: true })
    t.equal(both.current().name, 'Completed')
    t.equal(both.proposals.length, 2)
  })
  t.test('Prefect says no: it is told that the state does not stand', async t => {
    const { written } = await writeAgainst(CRASHED, meddle('before', [1, faster]), refuse(2))
    t.match(written, { kind: 'overtaken', isRestored: false })
  })
  t.test('somebody who always writes in between is not followed for ever', async t => {
    const restless = Array.from({ length: 20 }, (_, n) => [n + 1, state(`Running@${200 + n}`)] as const)
    const { written, proposals } = await writeAgainst(CRASHED, meddle('before', ...restless))
    t.match(written, { kind: 'overtaken', isRestored: false })
    t.equal(proposals.length, 4)
  })
})

t.test('Failed that Prefect parks as a retry: somebody had set the run going again', async t => {
  const crashed: State = { ...state('Crashed@40'), transitionId: TRANSITION }
  const history = createHistory(crashed, {
    before: (_proposal, n) => {
      if (n === 1) history.push({ ...state('Running@50'), id: 'again' })
    },
    answer: (_proposal, n) =>
      n === 1
        ? {
            kind: 'rejected',
            reason: 'Retrying',
            state: history.push({ type: 'SCHEDULED', name: 'AwaitingRetry' }),
          }
        : undefined,
  })
  const move = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, observed: crashed, proposal: FAILED }
  const written = await write(move, history.writes, signal)
  t.match(written, { kind: 'overtaken', by: { id: 'again' }, isRestored: true })
  t.equal(history.current().name, 'Running')
})

const settleIn = async (...states: readonly State[]) => {
  const [observed = OBSERVED, ...more] = states
  const history = createHistory(observed)
  for (const next of more) history.push(next)
  const ours = history.current()
  const placed: Placed = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, state: ours }
  return { written: await settle(placed, history.writes, signal), ...history }
}

t.test('a look at a Crashed state', async t => {
  const ours: State = { ...state('Crashed@40'), transitionId: TRANSITION }
  t.test('of ours, in its place', async t => {
    const { written, asked } = await settleIn(OBSERVED, ours)
    t.strictSame([written.kind, asked], ['moved', ['readStates']])
  })
  t.test('of ours, made by a process that died before it looked: what it replaced is put back', async t => {
    const { written, current } = await settleIn(OBSERVED, state('Running@39'), ours)
    t.match(written, { kind: 'overtaken', isRestored: true })
    t.equal(current().name, 'Running')
  })
  t.test('of ours, made twice because an answer was lost: the state in between is put back', async t => {
    const twice: State = { ...ours, id: 'twice', timestamp: at(45) }
    const { written } = await settleIn(OBSERVED, ours, state('Running@41'), twice)
    t.match(written, { kind: 'overtaken', by: { name: 'Running' } })
  })
  t.test('of ours, made twice with nothing in between: it is ours that stands', async t => {
    const twice: State = { ...ours, id: 'twice', timestamp: at(45) }
    const { written, proposals } = await settleIn(OBSERVED, ours, twice)
    t.strictSame([written.kind, proposals], ['moved', []])
  })
  t.test("of somebody else's: none of our business", async t => {
    const { written, proposals } = await settleIn(OBSERVED, state('Running@39'), state('Crashed@40'))
    t.strictSame([written.kind, proposals], ['moved', []])
  })
  t.test('that is not in the history yet', async t => {
    const history = createHistory(state('Scheduled@0'))
    const placed: Placed = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, state: ours }
    t.match(await settle(placed, history.writes, signal), { kind: 'moved' })
  })
})
