import t from 'tap'
import { known } from '../../src/core/evidence.ts'
import type { Verdict } from '../../src/core/verdict.ts'
import type { Acts } from '../../src/observer/act.ts'
import { act } from '../../src/observer/act.ts'
import type { Written } from '../../src/observer/write.ts'
import { write } from '../../src/observer/write.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { createTestClient, neverAborted } from '../prefect/help.ts'
import { cancel, crash, gatheredWith, newAttempt } from '../observer/scene.ts'

// Some hundred races against one server, a dozen requests each.
t.setTimeout(180_000)

const prefect = await startPrefect({ services: false })
t.teardown(prefect.stop)
const { api, apiUrl } = prefect
const client = createTestClient(t, { apiUrl })
const deploymentId = await api.createDeployment({ name: 'child', flow: 'child' })

const IN_30_SECONDS = () => ({ scheduled_time: new Date(Date.now() + 30_000).toISOString() })

/** A state that somebody else sets: a worker, the flow's own process, a person. */
interface Newer {
  readonly type: string
  readonly name: string
  readonly state_details?: Record<string, unknown>
}

/** From where, and to what, somebody may move a run while we think it dead. */
const NEWER: Readonly<Record<string, { readonly from: 'PENDING' | 'RUNNING'; readonly to: () => Newer }>> = {
  'its worker says Submitting': { from: 'PENDING', to: () => ({ type: 'PENDING', name: 'Submitting' }) },
  'its process starts': { from: 'PENDING', to: () => ({ type: 'RUNNING', name: 'Running' }) },
  'its process starts again': { from: 'RUNNING', to: () => ({ type: 'RUNNING', name: 'Retrying' }) },
  'it reschedules itself': {
    from: 'RUNNING',
    to: () => ({ type: 'SCHEDULED', name: 'AwaitingRetry', state_details: IN_30_SECONDS() }),
  },
  'somebody schedules it': { from: 'PENDING', to: () => ({ type: 'SCHEDULED', name: 'Scheduled' }) },
  'it completes': { from: 'RUNNING', to: () => ({ type: 'COMPLETED', name: 'Completed' }) },
  'it fails': { from: 'RUNNING', to: () => ({ type: 'FAILED', name: 'Failed' }) },
  'it pauses': { from: 'RUNNING', to: () => ({ type: 'PAUSED', name: 'Paused' }) },
  'somebody cancels it': { from: 'RUNNING', to: () => cancelling() },
}

/** What we are about to do, and what the run is then called. */
const OURS = {
  'we crash it': { verdict: crash(), ends: 'Crashed' },
  'we fail it': { verdict: crash({ thenFail: true }), ends: 'Failed' },
  'we give it a new attempt in 30 s': { verdict: newAttempt(), ends: 'AwaitingRetry' },
} as const

type Compete = () => Promise<void>
const WHENS = ['right before', 'right after', 'while'] as const
type When = (typeof WHENS)[number]

/** Somebody writes around the nth of our proposals. */
const around =
  (when: When, nth: number, compete: Compete) =>
  (propose: Acts['proposeState']): Acts['proposeState'] => {
    let n = 0
    return async (...proposal) => {
      n += 1
      if (n !== nth) return propose(...proposal)
      if (when === 'right before') await compete()
      const [answer] = await Promise.all([propose(...proposal), when === 'while' ? compete() : undefined])
      if (when === 'right after') await compete()
      return answer
    }
  }

interface Race {
  readonly from: 'PENDING' | 'RUNNING'
  readonly verdict: Verdict & { readonly kind: 'crash' | 'newAttempt' | 'cancel' }
  readonly to: () => Newer
  readonly when: When
  /** Around which of our proposals somebody writes; the first one where not told. */
  readonly nth?: number
  readonly retries?: number
}

/** Decides on a run as it is, acts on the decision while somebody else writes, and tells how the run ends. */
async function race({ from, verdict, to, when, nth = 1, retries }: Race) {
  const states = from === 'RUNNING' ? ['PENDING', 'RUNNING'] : ['PENDING']
  const subflowRun = { deploymentId, states, infrastructurePid: 'team:etl' }
  const { flowRunId, parentTaskRunId } = await api.createSubflowRun(subflowRun)
  if (retries !== undefined) await api.updateFlowRun(flowRunId, { empirical_policy: { retries } })
  const run = await client.readFlowRun(flowRunId, neverAborted)
  if (!run) throw new Error(`flow run ${flowRunId} is not there`)
  const answers: string[] = []
  const written: Written['kind'][] = []
  const compete = async (): Promise<void> => {
    answers.push((await api.setState(flowRunId, to())).status)
  }
  const acts: Acts = {
    ...client,
    proposeState: around(when, nth, compete)(client.proposeState),
    now: Date.now,
    failureState: 'crashed',
    suspendJob: async () => 'applied',
    tell: async () => {},
    onWritten: (_flowRunId, _state, { kind }) => written.push(kind),
    inTurn: async work => work(),
  }
  const gathered = gatheredWith({ ...verdict, observed: run.state })
  const facts = { ...gathered.facts, flowRunId, flowRun: known(run) }
  const acted = await act({ ...gathered, facts }, acts, neverAborted)
  const { state } = await api.readFlowRun(flowRunId)
  const task = await api.readTaskRun(parentTaskRunId)
  return { flowRunId, parentTaskRunId, acted, written, wasTaken: answers.includes('ACCEPT'), state, task }
}

for (const [ours, { verdict, ends }] of Object.entries(OURS))
  t.test(`${ours}, and`, async t => {
    for (const [newer, { from, to }] of Object.entries(NEWER))
      for (const when of WHENS) {
        const { state, wasTaken, written, task } = await race({ from, verdict, to, when })
        const stands = wasTaken ? to().name : ends
        t.equal(state.name, stands, `${newer} ${when} we write: the newer state stands`, { written })
        t.equal(task.state?.type, state.type, `${newer} ${when} we write: so it does in the parent`)
      }
  })

t.test('between Crashed and Failed', async t => {
  const verdict = crash({ thenFail: true })
  const cases: Readonly<Record<string, { to: () => Newer; retries?: number }>> = {
    'its process starts': { to: () => ({ type: 'RUNNING', name: 'Running' }) },
    'its process starts, with retries left': { to: () => ({ type: 'RUNNING', name: 'Running' }), retries: 3 },
    'it completes': { to: () => ({ type: 'COMPLETED', name: 'Completed' }) },
    'somebody schedules it': { to: () => ({ type: 'SCHEDULED', name: 'Scheduled' }) },
    'its worker takes it up': { to: () => ({ type: 'PENDING', name: 'Pending' }) },
  }
  for (const [newer, { to, retries }] of Object.entries(cases))
    for (const when of WHENS) {
      const policy = retries === undefined ? {} : { retries }
      const { state, wasTaken, acted } = await race({ from: 'RUNNING', verdict, to, when, nth: 2, ...policy })
      t.ok(wasTaken, `${newer} ${when} we fail it`)
      t.equal(state.name, to().name, `${newer} ${when} we fail it: the newer state stands`)
      t.strictSame(acted, { afterMs: 1000 }, `${newer} ${when} we fail it: and is looked at again`)
    }
})

t.test('while we put a state back', async t => {
  const { flowRunId } = await api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
  const observed = (await client.readFlowRun(flowRunId, neverAborted))?.state
  if (!observed) throw new Error('the run is not there')
  const compete = async (newer: Newer): Promise<void> => {
    await api.setState(flowRunId, newer)
  }
  const once = around('right before', 1, () => compete({ type: 'RUNNING', name: 'Retrying' }))
  const twice = around('right before', 2, () => compete({ type: 'COMPLETED', name: 'Completed' }))
  const acts = { ...client, proposeState: once(twice(client.proposeState)) }
  const proposal = { type: 'CRASHED', name: 'Crashed' } as const
  const written = await write({ flowRunId, basis: flowRunId, observed, proposal }, acts, neverAborted)
  t.match(written, { kind: 'overtaken', by: { name: 'Retrying' }, isRestored: true })
  t.equal((await api.readFlowRun(flowRunId)).state.name, 'Completed', 'what came meanwhile is newer still')
})

const cancelling = (): Newer => ({ type: 'CANCELLING', name: 'Cancelling' })

t.test('nobody in between: the run ends as we mean it', async t => {
  const cases = {
    Crashed: crash(),
    Failed: crash({ thenFail: true }),
    AwaitingRetry: newAttempt(),
    Cancelled: cancel(),
  }
  for (const [ends, verdict] of Object.entries(cases)) {
    const never = { when: 'right before', nth: 9 } as const
    const { state, written, parentTaskRunId, flowRunId } = await race({
      from: 'RUNNING',
      verdict,
      to: cancelling,
      ...never,
    })
    t.equal(state.name, ends)
    t.ok(
      written.every(kind => kind === 'moved'),
      `${ends}: moved`,
    )
    const history = await client.readStates(flowRunId, neverAborted)
    if (ends === 'Failed') t.equal(history.at(-2)?.name, 'Crashed', 'Failed only by way of Crashed')
    const tasks = await api.send('GET', `/task_run_states/?task_run_id=${parentTaskRunId}`)
    t.ok(
      Array.isArray(tasks) && tasks.slice(1).every(isOfTheServer),
      `${ends}: every state of the parent's task run was made by the server`,
    )
  }
})

/** The server notes the child in each state that it copies to the parent's task run. */
const isOfTheServer = (state: { state_details?: { child_flow_run_id?: unknown } }): boolean =>
  typeof state.state_details?.child_flow_run_id === 'string'

t.test('the same decision twice is one transition', async t => {
  const { flowRunId } = await api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
  const observed = (await client.readFlowRun(flowRunId, neverAborted))?.state
  if (!observed) throw new Error('the run is not there')
  const move = {
    flowRunId,
    basis: flowRunId,
    observed,
    proposal: { type: 'CRASHED', name: 'Crashed' } as const,
  }
  const first = await write(move, client, neverAborted)
  t.same(await write(move, client, neverAborted), first)
  t.equal((await client.readStates(flowRunId, neverAborted)).length, 4)
})
