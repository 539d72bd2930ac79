import t from 'tap'
import { pino } from 'pino'

import { createApi } from '../../src/prefect/api.ts'
import {
  createInProcessSubflowsOf,
  createLiveSubflowRuns,
  createReadFlowRun,
} from '../../src/prefect/flow-runs.ts'
import { createParents } from '../../src/prefect/parents.ts'
import { batchesOf } from '../../src/prefect/reports.ts'
import { createProposeState } from '../../src/prefect/proposals.ts'
import type { StateProposal } from '../../src/core/proposal.ts'
import type { Call } from '../../src/prefect/sender.ts'
import { createSetRetryType } from '../../src/prefect/retry-type.ts'
import { neverAborted, silent } from './help.ts'

/**
 * An API whose answers are given: for what no real server can be brought to say. Everything else is shown in
 * test/integration.
 */
const answering = (...answers: readonly { readonly status?: number; readonly body?: unknown }[]) => {
  const calls: Call[] = []
  const api = createApi('http://prefect/api', call => async () => {
    const { status = 200, body } = answers[Math.min(calls.length, answers.length - 1)] ?? {}
    calls.push(call)
    return new Response(body === undefined ? null : JSON.stringify(body), { status })
  })
  return { api, calls }
}

const ID = '5be8d45f-6055-47d6-93fa-8a37382c8509'

const run = {
  id: ID,
  name: 'run',
  run_count: 1,
  state: { id: 'state', type: 'RUNNING', name: 'Running', timestamp: '2026-01-01T00:00:00Z' },
}
const oddRun = { ...run, id: 'odd', state: { ...run.state, type: 'ZOMBIE' } }

t.test('a sweep leaves out a run that makes no sense, says so, and goes on', async t => {
  const lines: string[] = []
  const logger = pino({}, { write: line => lines.push(line) })
  const { api } = answering({ body: [oddRun, run] })
  const found: string[] = []
  for await (const { id } of createLiveSubflowRuns(api, logger)({ limit: 10 }, neverAborted)) found.push(id)
  t.same(found, [ID])
  t.match(lines.join(''), /flow run odd makes no sense: field state\.type/)
})

t.test('a sweep with no room for anything asks nothing', async t => {
  const { api, calls } = answering({ body: [] })
  for await (const found of createLiveSubflowRuns(api, silent)({ limit: 0 }, neverAborted))
    t.fail('', { found })
  t.equal(calls.length, 0)
})

t.test('a run that makes no sense is an error where it is asked for', async t => {
  const message = /flow run odd makes no sense/
  await t.rejects(createReadFlowRun(answering({ body: oddRun }).api)('odd', neverAborted), { message })
  await t.rejects(createInProcessSubflowsOf(answering({ body: [oddRun] }).api)(ID, neverAborted), { message })
})

/** Rows as a page of an answer has them. */
const page = (length: number, from: number) =>
  Array.from({ length }, (_, n) => ({ ...run, id: `run-${from + n}` }))

t.test('more in-process subflows than fit into one answer are all found', async t => {
  const { api, calls } = answering({ body: page(50, 0) }, { body: page(7, 50) })
  const found = await createInProcessSubflowsOf(api)(ID, neverAborted)
  t.equal(new Set(found.map(({ id }) => id)).size, 57)
  t.equal(calls.length, 2)
})

t.test('runs that die together are asked for in-process subflows together, mostly once', async t => {
  const { api, calls } = answering({ body: [] })
  const inProcessSubflowsOf = createInProcessSubflowsOf(api)
  const found = await Promise.all(['a', 'b', 'c'].map(id => inProcessSubflowsOf(id, neverAborted)))
  t.same(found, [[], [], []])
  t.equal(calls.length, 1)
})

t.test('where there are any, each run is asked for its own', async t => {
  const [first] = page(1, 0)
  const { api, calls } = answering({ body: [first] }, { body: [] }, { body: [first] })
  const inProcessSubflowsOf = createInProcessSubflowsOf(api)
  const found = await Promise.all(['a', 'b'].map(id => inProcessSubflowsOf(id, neverAborted)))
  t.match(found, [[], [{ id: 'run-0' }]])
  t.same(
    calls.map(({ flowRunId }) => flowRunId),
    [undefined, 'a', 'b'],
  )
})

t.test('a subflow that makes no sense is no trouble for other runs', async t => {
  const [first] = page(1, 0)
  const { api } = answering({ body: [first] }, { body: [oddRun] }, { body: [first] })
  const inProcessSubflowsOf = createInProcessSubflowsOf(api)
  const odd = inProcessSubflowsOf('a', neverAborted)
  const sane = inProcessSubflowsOf('b', neverAborted)
  await t.rejects(odd, { message: /flow run odd makes no sense/ })
  t.match(await sane, [{ id: 'run-0' }])
})

const SUBFLOW = { body: [{ id: ID, parent_task_run_id: 'task' }] }

const parentsOf = (api: Parameters<typeof createParents>[0]['api']) =>
  createParents({ api, now: Date.now, onLookup: () => {} })

t.test('what was answered is known afterwards, and not before', async t => {
  const { api, calls } = answering(SUBFLOW)
  const lookups: string[] = []
  const { admission } = createParents({ api, now: Date.now, onLookup: result => lookups.push(result) })
  t.equal(admission.known?.(ID), undefined)
  const parent = await admission(ID, neverAborted)
  t.same(admission.known?.(ID), parent)
  t.same(await admission(ID, neverAborted), parent)
  t.same(lookups, ['miss', 'hit', 'hit'])
  t.equal(calls.length, 1)
})

t.test('that a run does not exist is known to admission alone', async t => {
  const { api } = answering({ body: [] })
  const { admission, observer } = parentsOf(api)
  await admission(ID, neverAborted)
  t.same(admission.known?.(ID), { kind: 'notFound' })
  t.equal(observer.known?.(ID), undefined)
})

t.test('a look-up that failed is not remembered', async t => {
  const { api, calls } = answering({ status: 500, body: {} }, SUBFLOW)
  const { admission } = parentsOf(api)
  await t.rejects(admission(ID, neverAborted), { name: 'PrefectError', status: 500 })
  t.same(await admission(ID, neverAborted), { kind: 'subflow', parentTaskRunId: 'task' })
  t.match(calls, [{ priority: 'admission' }, { priority: 'admission' }])
})

t.test('a look-up has the patience of whoever waits for it', async t => {
  for (const priority of ['admission', 'observer'] as const) {
    const { api, calls } = answering({ body: [] })
    await parentsOf(api)[priority](ID, neverAborted)
    t.match(calls, [{ operation: 'parentOf', priority }])
  }
})

t.test(
  'what admission has learned, and what it is about to learn, the backfill does not ask for',
  async t => {
    const { api, calls } = answering(SUBFLOW)
    const { admission, observer } = parentsOf(api)
    const impatient = new AbortController()
    const given = admission(ID, impatient.signal)
    impatient.abort(new Error('webhook deadline'))
    await t.rejects(given, { message: 'webhook deadline' })
    t.same(await observer(ID, neverAborted), { kind: 'subflow', parentTaskRunId: 'task' }, 'under way')
    t.same(await observer(ID, neverAborted), { kind: 'subflow', parentTaskRunId: 'task' }, 'known')
    t.same(
      calls.map(({ priority }) => priority),
      ['admission'],
    )
  },
)

t.test('a look-up of admission that fails is none of the backfill’s', async t => {
  const { api, calls } = answering({ status: 500, body: {} }, SUBFLOW)
  const { admission, observer } = parentsOf(api)
  const failing = t.rejects(admission(ID, neverAborted), { name: 'PrefectError', status: 500 })
  t.same(await observer(ID, neverAborted), { kind: 'subflow', parentTaskRunId: 'task' })
  await failing
  t.same(
    calls.map(({ priority }) => priority),
    ['admission', 'observer'],
  )
})

t.test('that a run does not exist the backfill finds out for itself', async t => {
  const { api, calls } = answering({ body: [] }, { body: [] }, SUBFLOW)
  const { admission, observer } = parentsOf(api)
  const missing = admission(ID, neverAborted)
  t.same(await observer(ID, neverAborted), { kind: 'notFound' }, 'while admission does')
  t.same(await missing, { kind: 'notFound' })
  t.same(await observer(ID, neverAborted), { kind: 'subflow', parentTaskRunId: 'task' }, 'and afterwards')
  t.same(
    calls.map(({ priority }) => priority),
    ['admission', 'observer', 'observer'],
  )
})

const proposals: Readonly<Record<string, readonly [StateProposal, Call['repeat']]>> = {
  'CRASHED with a transition id': [{ type: 'CRASHED', transitionId: 'id' }, 'always'],
  'CANCELLED with a transition id': [{ type: 'CANCELLED', transitionId: 'id' }, 'always'],
  'CRASHED without one': [{ type: 'CRASHED' }, 'ifUndone'],
  'FAILED, whatever it carries': [{ type: 'FAILED', transitionId: 'id' }, 'ifUndone'],
  'SCHEDULED, whatever it carries': [{ type: 'SCHEDULED', transitionId: 'id' }, 'ifUndone'],
}

for (const [sentence, [proposal, repeat]] of Object.entries(proposals)) {
  t.test(`${sentence} is repeated: ${repeat}`, async t => {
    const { api, calls } = answering({ body: { status: 'ABORT', details: {} } })
    await createProposeState(api)(ID, proposal, neverAborted)
    t.match(calls, [{ operation: 'proposeState', flowRunId: ID, repeat, priority: 'observer' }])
  })
}

t.test('a run that goes away between reading and writing its policy is gone', async t => {
  const { api } = answering({ body: run }, { status: 404, body: { detail: 'Flow run not found' } })
  t.equal(await createSetRetryType(api)(ID, 'reschedule', neverAborted), false)
})

t.test('a refusal says what was asked, on which run, and what was answered', async t => {
  const { api } = answering({ status: 422, body: { detail: 'x'.repeat(1_000) } })
  const read = createReadFlowRun(api)(ID, neverAborted)
  await t.rejects(read, {
    name: 'PrefectError',
    message: new RegExp(
      `^Prefect, readFlowRun of flow run ${ID}: answered 422 \\{"detail":"x+: this is a mistake`,
    ),
  })
  await read.catch((error: unknown) => t.ok(String(error).length < 500))
})

const batches: Readonly<Record<string, readonly [readonly string[], readonly (readonly string[])[]]>> = {
  'nothing makes no batch': [[], []],
  'what fits stays together': [['aaaa', 'bbbb'], [['aaaa', 'bbbb']]],
  'what does not fit starts the next': [
    ['aaaa', 'bbbb', 'cccc'],
    [['aaaa', 'bbbb'], ['cccc']],
  ],
  'what is too large goes alone': [
    ['a', 'x'.repeat(50), 'b'],
    [['a'], ['x'.repeat(50)], ['b']],
  ],
}

for (const [sentence, [items, expected]] of Object.entries(batches)) {
  t.test(`batches: ${sentence}`, async t => {
    t.same(batchesOf(items, 15), expected)
  })
}
