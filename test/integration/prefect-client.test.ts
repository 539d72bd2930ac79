import { randomUUID } from 'node:crypto'

import t from 'tap'
import { v5 as uuid5 } from 'uuid'

import type { Proposal } from '../../src/core/proposal.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { waitFor } from '../cluster/prefect/api.ts'
import { counted, createTestClient, neverAborted } from '../prefect/help.ts'

// Two dozen walks against one server, whose start alone takes 5 s.
t.setTimeout(120_000)

const prefect = await startPrefect()
t.teardown(prefect.stop)
const { api, apiUrl } = prefect

const deploymentId = await api.createDeployment({ name: 'child', flow: 'child' })

const subflowRun = (states: readonly string[] = ['PENDING', 'RUNNING']) =>
  api.createSubflowRun({ deploymentId, states })

const nobody = randomUUID()

t.test('a subflow run is read with all that the rules need', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId, parentTaskRunId } = await api.createSubflowRun({
    deploymentId,
    states: ['PENDING', 'RUNNING'],
    infrastructurePid: 'default:job-1',
  })
  await api.updateFlowRun(flowRunId, {
    empirical_policy: { retries: 2, retry_delay: 7, retry_type: 'in_process' },
  })
  const raw = await api.readFlowRun(flowRunId)
  t.same(await client.readFlowRun(flowRunId, neverAborted), {
    id: flowRunId,
    name: raw.name,
    state: {
      id: raw.state.id,
      type: 'RUNNING',
      name: 'Running',
      timestamp: Date.parse(raw.state.timestamp),
    },
    parentTaskRunId,
    deploymentId,
    flowId: raw.flow_id,
    infrastructurePid: 'default:job-1',
    runCount: 1,
    retries: 2,
    retryDelaySeconds: 7,
    retryType: 'in_process',
  })
})

t.test('a run that does not exist is undefined, absent and not found, and never an error', async t => {
  const client = createTestClient(t, { apiUrl })
  t.equal(await client.readFlowRun(nobody, neverAborted), undefined)
  t.same(await client.readFlowRuns([nobody], neverAborted), new Map())
  t.same(await client.parentOf(nobody, neverAborted), { kind: 'notFound' })
  t.same(await client.readStates(nobody, neverAborted), [])
  t.same(await client.proposeState(nobody, { type: 'CRASHED' }, neverAborted), { kind: 'notFound' })
  t.equal(await client.setRetryType(nobody, 'reschedule', neverAborted), false)
  t.same(await client.inProcessSubflowsOf(nobody, neverAborted), [])
  t.equal(await client.lastHeartbeat(nobody, 0, neverAborted), undefined)
})

t.test('many runs are read 50 a request, each asked for once', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId } = await subflowRun()
  const others = Array.from({ length: 119 }, () => randomUUID())
  const runs = await client.readFlowRuns([flowRunId, ...others, flowRunId], neverAborted)
  t.same([...runs.keys()], [flowRunId])
  t.equal(await client.requests('readFlowRuns'), 3)
})

t.test('an id that is no UUID is refused before it can spoil a whole request', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId } = await subflowRun()
  await t.rejects(client.readFlowRuns([flowRunId, 'no-uuid'], neverAborted), {
    name: 'TypeError',
    message: 'no-uuid is no flow run id: not a UUID',
  })
  await t.rejects(client.parentOf('no-uuid', neverAborted), {
    name: 'TypeError',
    message: 'no-uuid is no flow run id: not a UUID',
  })
})

t.test('120 parents asked for at once take three requests, and none the second time', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId, parentTaskRunId, parentFlowRunId } = await subflowRun()
  const ids = [flowRunId, parentFlowRunId, ...Array.from({ length: 118 }, () => randomUUID())]
  const parents = await Promise.all(ids.map(id => client.parentOf(id, neverAborted)))
  t.same(parents.slice(0, 3), [
    { kind: 'subflow', parentTaskRunId },
    { kind: 'topLevel' },
    { kind: 'notFound' },
  ])
  t.equal(await client.requests('parentOf', '200'), 3)
  await Promise.all(ids.map(id => client.parentOf(id, neverAborted)))
  t.equal(await client.requests('parentOf'), 3)
  t.equal(await counted(client.registry, 'lifeguard_prefect_lookups_total', { result: 'hit' }), 120)
  t.equal(await counted(client.registry, 'lifeguard_prefect_lookups_total', { result: 'miss' }), 120)
})

t.test('a run that was not there a minute ago is looked up again, a parent never', async t => {
  let ms = Date.now()
  const clock = { now: () => ms, sleep: async () => {} }
  const client = createTestClient(t, { apiUrl, clock })
  const { flowRunId } = await subflowRun()
  const look = () => Promise.all([flowRunId, nobody].map(id => client.parentOf(id, neverAborted)))
  await look()
  ms += 60_000
  await look()
  t.equal(await counted(client.registry, 'lifeguard_prefect_lookups_total', { result: 'hit' }), 1)
  t.equal(await client.requests('parentOf'), 2)
})

t.test('a caller that gives up a look-up has it answered from the cache the next time', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId, parentTaskRunId } = await subflowRun()
  const impatient = new AbortController()
  const given = client.parentOf(flowRunId, impatient.signal)
  impatient.abort(new Error('webhook deadline'))
  await t.rejects(given, { message: 'webhook deadline' })
  await waitFor('the look-up to end', async () =>
    (await client.requests('parentOf')) === 1 ? true : undefined,
  )
  t.same(await client.parentOf(flowRunId, neverAborted), { kind: 'subflow', parentTaskRunId })
  t.equal(await client.requests('parentOf'), 1)
})

t.test('the history of states is told oldest first', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId } = await subflowRun()
  const states = await client.readStates(flowRunId, neverAborted)
  t.same(
    states.map(({ type }) => type),
    ['SCHEDULED', 'PENDING', 'RUNNING'],
  )
  t.type(states[0]?.scheduledTime, 'number')
})

t.test('a Running run is crashed once, and the same proposal again changes nothing', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId, parentTaskRunId } = await subflowRun()
  const run = await client.readFlowRun(flowRunId, neverAborted)
  const transitionId = uuid5('job-uid', run?.state.id ?? '')
  const crash = { type: 'CRASHED', message: '[oom_killed] Container …', transitionId } as const
  const propose = () => client.proposeState(flowRunId, crash, neverAborted)

  const first = await propose()
  t.match(first, {
    kind: 'accepted',
    state: { type: 'CRASHED', name: 'Crashed', message: '[oom_killed] Container …', transitionId },
  })
  const second = await propose()
  t.match(second, { kind: 'alreadyMade', state: { type: 'CRASHED', transitionId } })
  t.equal((await api.readStates(flowRunId)).length, 4)
  t.equal((await api.readTaskRun(parentTaskRunId)).state?.type, 'CRASHED')
})

t.test('two replicas propose at once: one is accepted, the other told so', async t => {
  const replicas = [createTestClient(t, { apiUrl }), createTestClient(t, { apiUrl })]
  const { flowRunId } = await subflowRun()
  const crash = { type: 'CRASHED', transitionId: randomUUID() } as const
  const answers = await Promise.all(
    replicas.map(replica => replica.proposeState(flowRunId, crash, neverAborted)),
  )
  t.same(answers.map(({ kind }) => kind).toSorted(), ['accepted', 'alreadyMade'])
})

interface Case {
  readonly from: readonly string[]
  readonly propose: Parameters<ReturnType<typeof createTestClient>['proposeState']>[1]
  readonly answer: Partial<Proposal>
  readonly stands: string
}

const cases: Readonly<Record<string, Case>> = {
  'CRASHED of a Completed run is aborted': {
    from: ['PENDING', 'RUNNING', 'COMPLETED'],
    propose: { type: 'CRASHED', transitionId: randomUUID() },
    answer: { kind: 'aborted', reason: 'Run is already in terminal state COMPLETED.' },
    stands: 'COMPLETED',
  },
  'CRASHED of a Pending run is accepted': {
    from: ['PENDING'],
    propose: { type: 'CRASHED', transitionId: randomUUID() },
    answer: { kind: 'accepted' },
    stands: 'CRASHED',
  },
  'CRASHED of a Cancelling run is rejected': {
    from: ['PENDING', 'RUNNING', 'CANCELLING'],
    propose: { type: 'CRASHED', transitionId: randomUUID() },
    answer: { kind: 'rejected' },
    stands: 'CANCELLING',
  },
  'CANCELLED of a Cancelling run is accepted': {
    from: ['PENDING', 'RUNNING', 'CANCELLING'],
    propose: { type: 'CANCELLED', transitionId: randomUUID() },
    answer: { kind: 'accepted' },
    stands: 'CANCELLED',
  },
  'AwaitingRetry of a Running run is accepted with its time': {
    from: ['PENDING', 'RUNNING'],
    propose: { type: 'SCHEDULED', name: 'AwaitingRetry', scheduledTime: Date.UTC(2030, 0, 1) },
    answer: { kind: 'accepted' },
    stands: 'SCHEDULED',
  },
  'Running of a run scheduled for later has to wait': {
    from: [],
    propose: { type: 'RUNNING' },
    answer: { kind: 'wait', reason: 'Scheduled time is in the future' },
    stands: 'SCHEDULED',
  },
}

for (const [sentence, { from, propose, answer, stands }] of Object.entries(cases)) {
  t.test(sentence, async t => {
    const client = createTestClient(t, { apiUrl })
    const later = { type: 'SCHEDULED', state_details: { scheduled_time: '2030-01-01T00:00:00Z' } }
    const run = await api.createFlowRun({ deploymentId, state: later })
    for (const type of from) await api.setState(run.id, { type })
    t.match(await client.proposeState(run.id, propose, neverAborted), answer)
    t.equal((await api.readFlowRun(run.id)).state.type, stands)
  })
}

t.test(
  'FAILED while retries remain is rejected, and the answer tells where the run stands instead',
  async t => {
    const client = createTestClient(t, { apiUrl })
    const { flowRunId } = await subflowRun()
    await api.updateFlowRun(flowRunId, { empirical_policy: { retries: 2, retry_delay: 30 } })
    const proposal = { type: 'FAILED', transitionId: randomUUID() } as const
    t.match(await client.proposeState(flowRunId, proposal, neverAborted), {
      kind: 'rejected',
      reason: 'Retrying',
      state: { type: 'SCHEDULED', name: 'AwaitingRetry' },
    })
  },
)

t.test('the retry type changes and the rest of the policy stays', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId } = await subflowRun()
  const policy = { retries: 3, retry_delay: 11, retry_type: 'in_process', pause_keys: ['key'] }
  await api.updateFlowRun(flowRunId, { empirical_policy: policy })
  t.equal(await client.setRetryType(flowRunId, 'reschedule', neverAborted), true)
  t.match((await api.readFlowRun(flowRunId)).empirical_policy, { ...policy, retry_type: 'reschedule' })
})

t.test('only subflows without deployment and infrastructure of their own are in-process', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId: dead } = await subflowRun()
  const flowId = await api.createFlow('in-process')
  const child = async (type: string, name?: string, more = {}) => {
    const { parentTaskRunId } = await api.createSubflowRun({ deploymentId, parentFlowRunId: dead })
    const body = { flow_id: flowId, parent_task_run_id: parentTaskRunId, state: { type, name }, ...more }
    const answer = await api.send('POST', '/flow_runs/', body)
    return (answer as { readonly id: string }).id
  }
  const running = await child('RUNNING')
  const waiting = await child('SCHEDULED', 'AwaitingRetry')
  await child('COMPLETED')
  const adHoc = await child('RUNNING')
  await api.updateFlowRun(adHoc, { infrastructure_pid: 'default:ad-hoc' })
  // As `@kubernetes` flows are submitted: with a work pool, and nothing ever says which Job is theirs.
  await api.createWorkPool('submitted', {})
  await child('RUNNING', undefined, { work_pool_name: 'submitted' })
  const found = await client.inProcessSubflowsOf(dead, neverAborted)
  t.same(found.map(({ id }) => id).toSorted(), [running, waiting].toSorted())
})

t.test('runs that die together are asked for in-process subflows together, and each has its own', async t => {
  const client = createTestClient(t, { apiUrl })
  const flowId = await api.createFlow('in-process')
  const deadWith = async (count: number) => {
    const { flowRunId: dead } = await subflowRun()
    const subflows: string[] = []
    for (let n = 0; n < count; n += 1) {
      const { parentTaskRunId } = await api.createSubflowRun({ deploymentId, parentFlowRunId: dead })
      const body = { flow_id: flowId, parent_task_run_id: parentTaskRunId, state: { type: 'RUNNING' } }
      const answer = await api.send('POST', '/flow_runs/', body)
      subflows.push((answer as { readonly id: string }).id)
    }
    return { dead, subflows }
  }
  const look = async (dead: readonly { readonly dead: string }[]) => {
    const before = await client.requests('inProcessSubflowsOf')
    const found = await Promise.all(dead.map(one => client.inProcessSubflowsOf(one.dead, neverAborted)))
    const requests = (await client.requests('inProcessSubflowsOf')) - before
    return { found: found.map(runs => runs.map(({ id }) => id).toSorted()), requests }
  }
  const without = [await deadWith(0), await deadWith(0), await deadWith(0)]
  t.same(await look(without), { found: [[], [], []], requests: 1 })
  const some = [await deadWith(2), ...without, await deadWith(1)]
  t.same(await look(some), { found: some.map(({ subflows }) => subflows.toSorted()), requests: 6 })
})

t.test('the last heartbeat since an instant is found', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId } = await subflowRun()
  const beats = [Date.now() - 60_000, Date.now() - 30_000]
  const resource = { 'prefect.resource.id': `prefect.flow-run.${flowRunId}` }
  const beat = (occurred: number) => ({
    id: randomUUID(),
    occurred,
    event: 'prefect.flow-run.heartbeat',
    resource,
    related: [],
    payload: {},
  })
  await client.emitEvents(beats.map(beat), neverAborted)
  const look = (since: number) => client.lastHeartbeat(flowRunId, since, neverAborted)
  // Stored by a service of the server's, a few seconds later.
  t.equal(
    await waitFor('the second beat', async () => ((await look(0)) === beats[1] ? beats[1] : undefined)),
    beats[1],
  )
  t.equal(await look(Date.now() - 10_000), undefined)
})

t.test('live subflow runs come page by page, up to a limit, of the wanted work pools', async t => {
  const client = createTestClient(t, { apiUrl })
  await api.createWorkPool('ours', {})
  const ours = await api.createDeployment({ name: 'ours', flow: 'child', workPool: 'ours' })
  const { parentFlowRunId, flowRunId } = await api.createSubflowRun({
    deploymentId: ours,
    states: ['PENDING'],
  })
  const live = new Set([flowRunId])
  for (let n = 0; n < 54; n += 1) {
    const run = await api.createSubflowRun({ deploymentId: ours, parentFlowRunId, states: ['PENDING'] })
    live.add(run.flowRunId)
  }
  const retrying = await api.createSubflowRun({ deploymentId: ours, parentFlowRunId })
  await api.setState(retrying.flowRunId, { type: 'SCHEDULED', name: 'AwaitingRetry' })
  live.add(retrying.flowRunId)
  await api.createSubflowRun({ deploymentId: ours, parentFlowRunId })
  await api.createSubflowRun({ deploymentId: ours, parentFlowRunId, states: ['PENDING', 'CRASHED'] })
  const elsewhere = await api.createSubflowRun({ deploymentId, parentFlowRunId, states: ['PENDING'] })

  const idsOf = async (which: { readonly workPools?: readonly string[]; readonly limit: number }) => {
    const ids: string[] = []
    for await (const { id } of client.liveSubflowRuns(which, neverAborted)) ids.push(id)
    return ids
  }
  const found = await idsOf({ workPools: ['ours'], limit: 1000 })
  t.equal(found.length, live.size)
  t.same(new Set(found), live)
  t.equal(await client.requests('liveSubflowRuns', '200'), 2)
  t.equal((await idsOf({ workPools: ['ours'], limit: 51 })).length, 51)
  const everywhere = await idsOf({ limit: 1000 })
  t.ok(everywhere.includes(elsewhere.flowRunId))
  t.notOk(everywhere.includes(parentFlowRunId))
})

t.test('log lines reach the run, cut and cleaned', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId } = await subflowRun()
  const line = (message: string, n: number) => ({
    flowRunId,
    level: 40,
    message,
    timestamp: 1_700_000_000_000 + n,
  })
  const messages = ['[oom_killed] Container', 'a\0b\ud800', 'x'.repeat(30_000)]
  await client.sendLogs(messages.map(line), neverAborted)
  const logs = await api.readLogs(flowRunId)
  t.match(logs[0], {
    name: 'prefect-lifeguard',
    level: 40,
    message: '[oom_killed] Container',
    timestamp: /2023-11-14/,
  })
  t.equal(logs[1]?.message, 'ab\ufffd')
  t.equal(logs[2]?.message.length, 25_000)
  t.match(logs[2]?.message, /x … \(cut from 30000 characters\)$/)
})

t.test('an event is stored once per id, however often it is sent, with what it relates to', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId } = await subflowRun()
  const resourceId = `prefect.flow-run.${flowRunId}`
  const event = {
    id: uuid5(flowRunId, uuid5.URL),
    occurred: Date.now(),
    event: 'prefect-lifeguard.flow-run.crashed',
    resource: { 'prefect.resource.id': resourceId },
    related: Array.from({ length: 101 }, (_, n) => ({
      'prefect.resource.id': `prefect.deployment.${n}`,
      'prefect.resource.role': 'deployment',
    })),
    payload: { code: 'oom_killed' },
  }
  const large = { ...event, id: randomUUID(), payload: { text: 'x'.repeat(2_000_000) } }
  await client.emitEvents([event], neverAborted)
  await client.emitEvents([event, large], neverAborted)
  const stored = await waitFor('both events', async () => {
    const events = await api.readEvents({ resourceId, prefix: 'prefect-lifeguard.' })
    return events.length >= 2 ? events : undefined
  })
  t.same(new Set(stored.map(({ id }) => id)), new Set([event.id, large.id]))
  t.equal(stored.length, 2)
  t.equal(stored.find(({ id }) => id === event.id)?.related.length, 100)
  t.match(stored.find(({ id }) => id === large.id)?.payload, { omitted: /^a payload of \d+ bytes$/ })
})

t.test('nothing to say sends nothing', async t => {
  const client = createTestClient(t, { apiUrl })
  await client.sendLogs([], neverAborted)
  await client.emitEvents([], neverAborted)
  t.equal((await client.requests('sendLogs')) + (await client.requests('emitEvents')), 0)
})

t.test('the version is told, and a server that answers is healthy', async t => {
  const client = createTestClient(t, { apiUrl })
  t.match(await client.version(neverAborted), /^3\.\d+\.\d+$/)
  t.same(await client.health(neverAborted), { ok: true })
})

t.test('a question about health ends with its signal', async t => {
  const client = createTestClient(t, { apiUrl })
  await t.rejects(client.health(AbortSignal.abort(new Error('stopping'))), { message: 'stopping' })
})
