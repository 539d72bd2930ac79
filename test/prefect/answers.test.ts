import t from 'tap'

import {
  parseFirstOccurred,
  parseFlowRun,
  parseList,
  parseOrchestrated,
  parseParented,
  parseState,
  parseVersion,
} from '../../src/prefect/answers.ts'

const ID = '5be8d45f-6055-47d6-93fa-8a37382c8509'

const state = {
  id: 'state',
  type: 'RUNNING',
  name: 'Running',
  timestamp: '2026-01-01T00:00:00.123456Z',
  message: null,
  state_details: { transition_id: null, scheduled_time: null, child_flow_run_id: null },
}

const run = {
  id: ID,
  name: 'little-buffalo',
  state,
  run_count: 1,
  parent_task_run_id: null,
  deployment_id: null,
  flow_id: null,
  work_pool_name: null,
  infrastructure_pid: null,
  empirical_policy: { retries: null, retry_delay: null, retry_type: null },
  parameters: { parent_task_run_id: 'a parameter of this name means nothing' },
}

const plain = {
  id: ID,
  name: 'little-buffalo',
  runCount: 1,
  state: { id: 'state', type: 'RUNNING', name: 'Running', timestamp: Date.UTC(2026, 0, 1, 0, 0, 0, 123) },
}

t.test('what Prefect says is null is absent, and so is what an older Prefect does not say', async t => {
  t.strictSame(parseFlowRun(run), plain)
  const { empirical_policy, work_pool_name, ...older } = run
  t.ok(empirical_policy)
  t.equal(work_pool_name, null)
  t.strictSame(parseFlowRun(older), plain)
})

const pids: Readonly<Record<string, readonly [infrastructurePid: string, named: string]>> = {
  'a Job as prefect-kubernetes 0.6.0 and newer name it': ['flows:child-x7k2p', 'flows:child-x7k2p'],
  'a Job as older ones name it, the UID of the cluster first': [
    'a7f0b1de-54a3-4f3a-9a3e-0d6f0f0d8f11:flows:child-x7k2p',
    'flows:child-x7k2p',
  ],
  'something without a namespace': ['child-x7k2p', 'child-x7k2p'],
}

for (const [sentence, [pid, named]] of Object.entries(pids)) {
  t.test(`infrastructure: ${sentence}`, async t => {
    t.equal(parseFlowRun({ ...run, infrastructure_pid: pid }).infrastructurePid, named)
  })
}

const odd: Readonly<Record<string, readonly [unknown, RegExp]>> = {
  'an unknown state type': [{ ...run, state: { ...state, type: 'ZOMBIE' } }, /field state\.type: /],
  'no state': [{ ...run, state: null }, /field state: /],
  'a state without a time': [{ ...run, state: { ...state, timestamp: null } }, /field state\.timestamp: /],
  'a time without an offset': [
    { ...run, state: { ...state, timestamp: '2026-01-01T00:00:00' } },
    /field state\.timestamp: /,
  ],
  'no run count': [{ ...run, run_count: null }, /field run_count: /],
  'a run count that is no number': [{ ...run, run_count: '1' }, /field run_count: /],
  'an unknown retry type': [
    { ...run, empirical_policy: { retry_type: 'later' } },
    /field empirical_policy\.retry_type: /,
  ],
  'a parent that is no text': [{ ...run, parent_task_run_id: 5 }, /field parent_task_run_id: /],
}

for (const [sentence, [row, field]] of Object.entries(odd)) {
  t.test(`a flow run with ${sentence} is an error naming run and field`, async t => {
    t.throws(() => parseFlowRun(row), { name: 'TypeError', message: field })
    t.throws(() => parseFlowRun(row), { message: new RegExp(`about flow run ${ID} makes no sense`) })
  })
}

t.test('what is no flow run at all is called so', async t => {
  t.throws(() => parseFlowRun('hello'), {
    name: 'TypeError',
    message: /about a flow run without an id makes no sense: Invalid input/,
  })
  t.throws(() => parseFlowRun(undefined), TypeError)
  t.throws(() => parseFlowRun([run]), TypeError)
})

t.test('a look-up of parents is not spoilt by the rest of a run', async t => {
  t.same(parseParented({ ...run, state: { type: 'ZOMBIE' }, parent_task_run_id: 'task' }), {
    id: ID,
    parentTaskRunId: 'task',
  })
  t.throws(() => parseParented({ name: 'x' }), { name: 'TypeError', message: /field id: / })
})

t.test('details of a state are told when they are there', async t => {
  const details = { transition_id: 'transition', scheduled_time: '2026-01-01T01:00:00+01:00' }
  t.match(parseState({ ...state, message: 'why', state_details: details }, ID), {
    message: 'why',
    transitionId: 'transition',
    scheduledTime: Date.UTC(2026, 0, 1),
  })
  t.throws(() => parseState({}, ID), {
    message: new RegExp(`a state of flow run ${ID} makes no sense: field id`),
  })
})

t.test('an answer to a proposal has a status we know', async t => {
  const details = { type: 'x' }
  t.same(parseOrchestrated({ status: 'ABORT', state: null, details }, ID), {
    status: 'ABORT',
    reason: '',
    delayMs: 0,
  })
  const wait = { status: 'WAIT', details: { reason: 'later', delay_seconds: 30 } }
  t.same(parseOrchestrated(wait, ID), { status: 'WAIT', reason: 'later', delayMs: 30_000 })
  t.throws(() => parseOrchestrated({ status: 'MAYBE', details }, ID), {
    name: 'TypeError',
    message: new RegExp(`a proposal for flow run ${ID} makes no sense: field status: `),
  })
})

t.test('lists, events and versions are what they are called', async t => {
  t.throws(() => parseList({}, 'flow runs'), { name: 'TypeError', message: /about flow runs makes no sense/ })
  t.equal(parseFirstOccurred({ events: [] }, ID), undefined)
  t.equal(parseFirstOccurred({ events: [{ occurred: '1970-01-01T00:00:01Z' }] }, ID), 1_000)
  t.throws(() => parseFirstOccurred({}, ID), { name: 'TypeError', message: /field events: / })
  t.throws(() => parseVersion(3), { name: 'TypeError', message: /about its version/ })
})
