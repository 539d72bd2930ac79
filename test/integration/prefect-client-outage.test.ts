import { randomUUID } from 'node:crypto'

import t from 'tap'

import { PrefectUnavailable } from '../../src/prefect/errors.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { waitFor } from '../cluster/prefect/api.ts'
import { counted, createTestClient, neverAborted } from '../prefect/help.ts'

// The server is stopped and started over, about 5 s each.
t.setTimeout(120_000)

const prefect = await startPrefect({ services: false })
t.teardown(prefect.stop)
const { api, apiUrl } = prefect
const deploymentId = await api.createDeployment({ name: 'child', flow: 'child' })

/** As a queue does it: whoever is told to come back later comes back then. */
const persist = async <T>(ask: () => Promise<T>): Promise<T> => {
  try {
    return await ask()
  } catch (error) {
    if (!(error instanceof PrefectUnavailable)) throw error
    const { retryAfterMs } = error
    await new Promise(resolve => setTimeout(resolve, retryAfterMs))
    return persist(ask)
  }
}

t.test('a server that is down costs a few requests, admission no time, and no write is lost', async t => {
  const client = createTestClient(t, { apiUrl })
  const runs: string[] = []
  for (let n = 0; n < 20; n += 1) {
    const { flowRunId } = await api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
    runs.push(flowRunId)
  }
  await prefect.stopServer('SIGKILL')
  const writes = runs.map(id => {
    const transitionId = randomUUID()
    return persist(() => client.proposeState(id, { type: 'CRASHED', transitionId }, neverAborted))
  })
  await waitFor('the breaker to open', async () =>
    (await counted(client.registry, 'lifeguard_prefect_breaker_state', {})) === 2 ? true : undefined,
  )

  const lookUp = () =>
    Promise.allSettled(Array.from({ length: 200 }, () => client.parentOf(randomUUID(), neverAborted)))
  // Admission has a breaker of its own and finds out by itself; from then on it is one request an opening.
  await lookUp()
  const before = await client.requests('parentOf')
  t.ok(before <= 20, `${before} requests for the first 200 look-ups`)
  const lookUps = await lookUp()
  t.ok(lookUps.every(look => look.status === 'rejected' && look.reason instanceof PrefectUnavailable))
  t.ok((await client.requests('parentOf')) - before <= 1)
  t.match(await client.health(neverAborted), { ok: false, why: /ECONNREFUSED/ })

  await prefect.startServer()
  const answers = await Promise.all(writes)
  t.ok(answers.every(({ kind }) => kind === 'accepted'))
  for (const id of runs) t.equal((await api.readStates(id)).length, 4)
})

t.test('a server that hangs holds nobody up beyond the own deadline', async t => {
  const client = createTestClient(t, { apiUrl })
  const { flowRunId, parentTaskRunId } = await api.createSubflowRun({ deploymentId })
  prefect.signalServer('SIGSTOP')
  t.teardown(async () => prefect.signalServer('SIGCONT'))
  const deadline = new AbortController()
  const asked = client.parentOf(flowRunId, deadline.signal)
  deadline.abort(new Error('webhook deadline'))
  await t.rejects(asked, { message: 'webhook deadline' })
  // The look-up itself goes on until a deadline of its own.
  await t.rejects(client.parentOf(flowRunId, neverAborted), { name: 'PrefectUnavailable' })
  t.ok((await client.requests('parentOf', 'timeout')) >= 1)
  prefect.signalServer('SIGCONT')
  const parent = await persist(() => client.parentOf(flowRunId, neverAborted))
  t.same(parent, { kind: 'subflow', parentTaskRunId })
})

t.test('a call that is called off ends at once and says why', async t => {
  const client = createTestClient(t, { apiUrl })
  prefect.signalServer('SIGSTOP')
  t.teardown(async () => prefect.signalServer('SIGCONT'))
  const stop = new AbortController()
  const asked = client.readFlowRun(randomUUID(), stop.signal)
  setImmediate(() => stop.abort())
  await t.rejects(asked, { name: 'AbortError' })
  t.equal(await client.requests('readFlowRun', 'aborted'), 1)
})

t.test('calls in flight end when the client is closed', async t => {
  const client = createTestClient(t, { apiUrl })
  prefect.signalServer('SIGSTOP')
  t.teardown(async () => prefect.signalServer('SIGCONT'))
  const asked = client.proposeState(randomUUID(), { type: 'FAILED' }, neverAborted)
  setImmediate(() => void client.close())
  await t.rejects(asked, { name: 'PrefectUnavailable' })
})
