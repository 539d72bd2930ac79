import t from 'tap'
import type { FlowRun, State } from '../../src/core/flow-run.ts'
import type { FailureState } from '../../src/core/settings.ts'
import type { Crash, Verdict } from '../../src/core/verdict.ts'
import type { Acted } from '../../src/observer/act.ts'
import { act } from '../../src/observer/act.ts'
import { VERDICT } from '../../src/observer/annotations.ts'
import { transitionIdOf } from '../../src/observer/write.ts'
import { at, job } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run, state } from '../core/build/runs.ts'
import {
  cancel,
  crash,
  createActs,
  createHistory,
  gatheredWith,
  JOB,
  JOB_UID,
  newAttempt,
  OOM,
  report,
  signal,
} from './scene.ts'

const SOON: Acted = { afterMs: 1000 }
const REFUSED: Acted = { isRefused: true }

/** What a death does, in order: the state, a look at the history, the subflows in its process. */
const ENDED = ['proposeState', 'readStates', 'inProcessSubflowsOf']

const withoutJob = ({ job: _job, ...verdict }: Crash): Crash => verdict

t.test('each verdict does what it says, and tells', async t => {
  interface Done {
    readonly verdict: Verdict
    readonly acted?: Acted
    readonly asked: readonly string[]
    readonly proposed?: readonly unknown[]
    readonly told?: readonly string[]
  }
  const text = new RegExp(String.raw`^\[oom_killed\] .* Resolution: `)
  const sentences: Readonly<Record<string, Done>> = {
    nothing: { verdict: { kind: 'nothing', reason: 'JobIsActive' }, asked: [] },
    'look again': {
      verdict: { kind: 'requeue', reason: 'RunHasJustEnded', afterMs: 7000 },
      acted: { afterMs: 7000 },
      asked: [],
    },
    report: { verdict: report(), asked: [], told: ['reported'] },
    'report, and look again': {
      verdict: report({ afterMs: 9000 }),
      acted: { afterMs: 9000 },
      asked: [],
      told: ['reported'],
    },
    crash: {
      verdict: crash(),
      asked: ENDED,
      proposed: [{ type: 'CRASHED', name: 'Crashed', message: text }],
      told: ['crashed'],
    },
    'suspend, then crash': {
      verdict: crash({ suspend: true }),
      asked: ['readFlowRun', 'suspendJob etl', ...ENDED],
      proposed: [{ type: 'CRASHED' }],
      told: ['crashed'],
    },
    'crash a run that has no Job to suspend': {
      verdict: withoutJob(crash({ suspend: true })),
      asked: ENDED,
      proposed: [{ type: 'CRASHED' }],
      told: ['crashed'],
    },
    'crash, then fail': {
      verdict: crash({ thenFail: true }),
      asked: [...ENDED, 'proposeState', 'readStates'],
      proposed: [{ type: 'CRASHED' }, { type: 'FAILED', name: 'Failed', message: text }],
      told: ['failed'],
    },
    'a new attempt': {
      verdict: newAttempt(),
      asked: ['proposeState', 'readStates'],
      proposed: [
        {
          type: 'SCHEDULED',
          name: 'AwaitingRetry',
          scheduledTime: at(90),
          message: /Resolution: .* \(prefect-lifeguard: new attempt 2 of at most 5\)$/,
        },
      ],
      told: ['new-attempt'],
    },
    'a new attempt that no worker would take up as it is': {
      verdict: newAttempt({ replaceRetryType: true }),
      asked: ['setRetryType reschedule', 'proposeState', 'readStates'],
      proposed: [{ type: 'SCHEDULED' }],
      told: ['new-attempt'],
    },
    cancel: {
      verdict: cancel(),
      asked: ['proposeState', 'readStates'],
      proposed: [{ type: 'CANCELLED', name: 'Cancelled', message: text }],
      told: ['cancelled'],
    },
  }
  for (const [sentence, { verdict, acted = {}, asked, proposed = [], told = [] }] of Object.entries(
    sentences,
  )) {
    const scene = createActs()
    t.strictSame(
      await act(gatheredWith(verdict), scene.acts, signal),
      acted,
      `${sentence}: when to look again`,
    )
    t.strictSame(scene.asked, asked, `${sentence}: what is done, in order`)
    t.match(scene.proposals, proposed, `${sentence}: what is proposed`)
    t.equal(scene.proposals.length, proposed.length, `${sentence}: how often`)
    t.strictSame(
      scene.stories.map(({ outcome }) => outcome),
      told,
      `${sentence}: what is told`,
    )
  }
})

t.test('a verdict that still asks is a mistake of whoever gathers', async t => {
  const asking: Verdict = { kind: 'ask', reason: 'FactIsMissing', need: 'states' }
  await t.rejects(act(gatheredWith(asking), createActs().acts, signal), {
    message: `The verdict on flow run ${FLOW_RUN_ID} still asks for states`,
  })
})

t.test('where somebody else was faster nothing is told, and the run is looked at soon', async t => {
  for (const verdict of [crash(), crash({ thenFail: true }), newAttempt(), cancel()]) {
    const history = createHistory(run().state, {
      before: (_proposal, n) => {
        if (n === 1) history.push(state('Running@50'))
      },
    })
    const scene = createActs({}, history)
    t.strictSame(await act(gatheredWith(verdict), scene.acts, signal), SOON, verdict.kind)
    t.strictSame(scene.stories, [], `${verdict.kind}: nothing is told`)
    t.strictSame(
      scene.written.map(([, kind]) => kind),
      ['overtaken'],
      `${verdict.kind}: it is counted`,
    )
    t.notOk(scene.asked.includes('inProcessSubflowsOf'), `${verdict.kind}: its subflows live`)
  }
})

t.test('where Prefect says no nothing is told: it would say so again in a second', async t => {
  for (const verdict of [crash(), newAttempt(), cancel()]) {
    const history = createHistory(run().state, { answer: () => ({ kind: 'aborted', reason: 'terminal' }) })
    const scene = createActs({}, history)
    t.strictSame(await act(gatheredWith(verdict), scene.acts, signal), REFUSED, verdict.kind)
    t.strictSame(
      scene.written.map(([, kind]) => kind),
      ['refused'],
    )
    t.strictSame(scene.stories, [])
  }
})

t.test('Failed that is refused after Crashed: looked at soon, and told of then', async t => {
  const history = createHistory(run().state, {
    answer: (_proposal, n) => (n === 2 ? { kind: 'aborted', reason: 'no' } : undefined),
  })
  const scene = createActs({}, history)
  t.strictSame(await act(gatheredWith(crash({ thenFail: true })), scene.acts, signal), SOON)
  t.strictSame(scene.stories, [])
})

t.test('a Job that cannot be suspended may still start: nothing is said of it', async t => {
  for (const answer of ['gone', 'conflict'] as const) {
    const scene = createActs({ suspendJob: async () => answer })
    t.strictSame(await act(gatheredWith(crash({ suspend: true })), scene.acts, signal), SOON, answer)
    t.strictSame(scene.proposals, [], `${answer}: no state is proposed`)
  }
})

t.test(
  'a run that has moved since its start was found stuck may have started: its Job is not suspended',
  async t => {
    for (const [what, current] of Object.entries({ moved: run({ state: 'Running@59' }), gone: undefined })) {
      const scene = createActs({ readFlowRun: async () => current })
      t.strictSame(await act(gatheredWith(crash({ suspend: true })), scene.acts, signal), SOON, what)
      t.notOk(scene.asked.includes('suspendJob etl'), `${what}: not suspended`)
      t.strictSame(scene.proposals, [], `${what}: no state is proposed`)
    }
  },
)

/** Acts upon a run that was read at a time before `at(60)` and is in this state by now. */
const readAgain = async (verdict: Verdict, readAt: number, current: FlowRun | undefined = run()) => {
  const asked: string[] = []
  const scene = createActs({
    readFlowRun: async () => {
      asked.push('readFlowRun')
      return current
    },
  })
  const acted = await act({ ...gatheredWith(verdict), runReadAt: at(readAt) }, scene.acts, signal)
  return { acted, asked, proposed: scene.proposals.length, written: scene.written }
}

t.test('where reading took long the run is read again before anything is proposed', async t => {
  for (const verdict of [crash(), newAttempt(), cancel()]) {
    const fresh = await readAgain(verdict, 58)
    t.match(fresh, { acted: {}, asked: [], proposed: 1 }, `${verdict.kind}: two seconds are nothing`)
    const stale = await readAgain(verdict, 57)
    t.match(
      stale,
      { acted: {}, asked: ['readFlowRun'], proposed: 1 },
      `${verdict.kind}: it stands as it stood`,
    )
    const moved = await readAgain(verdict, 57, run({ state: 'Running@58' }))
    t.match(
      moved,
      { acted: SOON, proposed: 0, written: [[/./, 'superseded']] },
      `${verdict.kind}: it has moved`,
    )
  }
  const gone = createActs({ readFlowRun: async () => undefined })
  const acted = await act({ ...gatheredWith(crash()), runReadAt: at(0) }, gone.acts, signal)
  t.match(
    { acted, written: gone.written },
    { acted: REFUSED, written: [['CRASHED', 'refused']] },
    'it is gone',
  )
})

t.test('whether a run stands as it stood is asked when its turn has come', async t => {
  const time = { now: at(60) }
  const scene = createActs({
    now: () => time.now,
    inTurn: async work => {
      time.now = at(63)
      return work()
    },
    readFlowRun: async () => run({ state: 'Running@62' }),
  })
  const acted = await act({ ...gatheredWith(crash()), runReadAt: at(60) }, scene.acts, signal)
  t.match({ acted, proposals: scene.proposals }, { acted: SOON, proposals: [] })
})

t.test('a transition rests on the dead Job, or on the run where none is known', async t => {
  for (const [verdict, basis] of [
    [crash(), JOB_UID],
    [withoutJob(crash()), FLOW_RUN_ID],
  ] as const) {
    const scene = createActs()
    await act(gatheredWith(verdict), scene.acts, signal)
    t.equal(scene.proposals[0]?.transitionId, transitionIdOf(basis, verdict.observed))
  }
})

t.test('a write whose outcome is unknown tells nothing', async t => {
  const lost = createActs({ proposeState: () => Promise.reject(new Error('the answer was lost')) })
  await t.rejects(act(gatheredWith(crash()), lost.acts, signal), { message: 'the answer was lost' })
  t.strictSame(lost.stories, [])
})

t.test('a run that is Crashed already', async t => {
  const observed = run().state
  const ours = { ...state('Crashed@40'), transitionId: transitionIdOf(JOB_UID, observed) }
  const theirs = state('Crashed@40')
  const explain: Verdict = { kind: 'nothing', reason: 'FlowRunCrashedAlready', diagnosis: OOM, job: JOB }
  /** Acts on it; `told` is the Job's annotation. */
  const explainIn = async (current: State = ours, told?: string, failureState: FailureState = 'crashed') => {
    const dead = job({ uid: JOB_UID, failed: 'BackoffLimitExceeded' }).job
    const annotations = told === undefined ? {} : { [VERDICT]: told }
    const annotated = { job: { ...dead, metadata: { ...dead.metadata, annotations } } }
    const history = createHistory(observed)
    history.push(current)
    const scene = createActs({ failureState }, history)
    const parts = { run: { ...run(), state: current }, jobs: [annotated] }
    const acted = await act(gatheredWith(explain, parts), scene.acts, signal)
    return { acted, asked: scene.asked, told: scene.stories.map(({ outcome }) => outcome) }
  }
  const done = { acted: {}, asked: ['readStates', 'inProcessSubflowsOf'], told: ['explained'] }
  const silent = { acted: {}, asked: [], told: [] }

  t.strictSame(await explainIn(ours), done, 'by us, nobody knows how far we came: all that follows is done')
  t.strictSame(
    await explainIn(theirs),
    done,
    'by somebody who did not say why: we do, and end what ran in it',
  )
  t.strictSame(
    await explainIn(ours, `crashed JobFailed oom_killed ${observed.id}`),
    silent,
    'the annotation says that we told of the state we replaced: nobody is asked',
  )
  t.strictSame(
    await explainIn(theirs, `explained FlowRunCrashedAlready oom_killed ${theirs.id}`),
    silent,
    'the annotation says that we told of this state: nobody is asked',
  )
  t.strictSame(
    await explainIn(ours, `crashed JobFailed oom_killed ${state('Running@3').id}`),
    done,
    'the annotation speaks of an earlier death',
  )
  t.strictSame(
    await explainIn(ours, `reported StartIsStuck oom_killed ${observed.id}`),
    done,
    'the annotation speaks of a report before the end, not of the end',
  )
  t.strictSame(
    await explainIn(theirs, undefined, 'report'),
    { acted: {}, asked: [], told: ['explained'] },
    'where nothing may be changed we only tell',
  )
  t.strictSame(await explainIn(ours, ''), done, 'somebody emptied the annotation')

  const failed = { acted: {}, asked: [...done.asked, 'proposeState', 'readStates'], told: ['failed'] }
  t.strictSame(
    await explainIn(ours, undefined, 'failed'),
    failed,
    'by us, on its way to Failed: the answer was lost, or whoever waited for it',
  )
  t.strictSame(await explainIn(theirs, undefined, 'failed'), done, 'by somebody else: it stays Crashed')
  const old = { ...state('Crashed@-541'), transitionId: ours.transitionId }
  t.strictSame(await explainIn(old, undefined, 'failed'), done, 'by us, ten minutes ago: it stays Crashed')
  t.strictSame(
    await explainIn(ours, `crashed JobFailed oom_killed ${observed.id}`, 'failed'),
    silent,
    'by us, under another setting: it was told of, and stays Crashed',
  )
})

t.test('a Crashed state of ours that replaced a newer one is taken back, by whoever finds it', async t => {
  const observed = run().state
  const history = createHistory(observed)
  history.push(state('Running@39'))
  const ours = history.push({ ...state('Crashed@40'), transitionId: transitionIdOf(JOB_UID, observed) })
  const scene = createActs({}, history)
  const explain: Verdict = { kind: 'nothing', reason: 'FlowRunCrashedAlready', diagnosis: OOM, job: JOB }
  t.strictSame(await act(gatheredWith(explain, { run: { ...run(), state: ours } }), scene.acts, signal), SOON)
  t.equal(history.current().name, 'Running')
  t.strictSame(scene.written, [['CRASHED', 'overtaken']])
  t.strictSame(scene.stories, [])
})

t.test('a run that Prefect no longer knows needs no explanation', async t => {
  const scene = createActs()
  const explain: Verdict = { kind: 'nothing', reason: 'FlowRunCrashedAlready', diagnosis: OOM, job: JOB }
  t.strictSame(await act(gatheredWith(explain, { run: null }), scene.acts, signal), {})
  t.strictSame(scene.asked, [])
})
