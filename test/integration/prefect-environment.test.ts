import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import t from 'tap'
import { startControlPlane } from '../cluster/control-plane.ts'
import { findMarked } from '../cluster/kill.ts'
import { prefectApi, waitFor } from '../cluster/prefect/api.ts'
import type { PrefectApi } from '../cluster/prefect/api.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import { jobs, pods } from '../cluster/resources.ts'
import type { Job } from '../cluster/resources.ts'
import { ensureVenv, makeOnce } from '../cluster/prefect/venv.ts'

// The first start ever installs Prefect.
t.setTimeout(600_000)

const venv = await ensureVenv()

/** Processes that belong to a started Prefect: its server and clients have different homes below one folder. */
async function processesOf(folder: string): Promise<number[]> {
  const homes = ['server', 'home'].map(name => findMarked(`PREFECT_HOME=${join(folder, name)}`))
  return (await Promise.all(homes)).flat()
}

async function runsAndStates(api: PrefectApi): Promise<string[][]> {
  const runs = await api.filterFlowRuns({ sort: 'ID_DESC' })
  return runs.map(run => [run.id, run.state.id])
}

async function stateNames(api: PrefectApi, flowRunId: string): Promise<string[]> {
  return (await api.readStates(flowRunId)).map(state => state.name)
}

function hasFailed({ status }: Job): boolean {
  return status?.conditions?.some(({ type, status }) => type === 'Failed' && status === 'True') ?? false
}

t.test('a server comes up from the template database', async t => {
  const prefect = await startPrefect({ venv })
  t.teardown(prefect.stop)
  const { api } = prefect

  await t.test('a subflow run is made without a process, and its parent task run follows it', async t => {
    const deploymentId = await api.createDeployment({ name: 'test', flow: 'child' })
    const run = await api.createSubflowRun({
      deploymentId,
      states: ['PENDING', 'RUNNING'],
      infrastructurePid: 'default:child-x7k2p',
    })
    t.match(await api.readFlowRun(run.flowRunId), {
      parent_task_run_id: run.parentTaskRunId,
      infrastructure_pid: 'default:child-x7k2p',
      run_count: 1,
      state: { type: 'RUNNING' },
    })
    t.match(await api.readSubflowRuns(run.parentFlowRunId), [{ id: run.flowRunId }])
    t.match(await api.setState(run.flowRunId, { type: 'CRASHED', message: 'its pod died' }), {
      status: 'ACCEPT',
    })
    const states = await api.readStates(run.flowRunId)
    t.same(
      states.map(state => state.type),
      ['SCHEDULED', 'PENDING', 'RUNNING', 'CRASHED'],
    )
    t.match(await api.readTaskRun(run.parentTaskRunId), {
      flow_run_id: run.parentFlowRunId,
      state: { type: 'CRASHED', state_details: { child_flow_run_id: run.flowRunId } },
    })
  })

  await t.test('events are persisted', async t => {
    const { id } = await api.createFlowRun({
      deploymentId: await api.createDeployment({ name: 'test', flow: 'child' }),
      state: { type: 'SCHEDULED', name: 'Scheduled' },
    })
    await api.setState(id, { type: 'CRASHED' })
    const crashed = await waitFor('the Crashed event', async () => {
      const events = await api.readEvents({
        resourceId: `prefect.flow-run.${id}`,
        prefix: 'prefect.flow-run.',
      })
      return events.find(event => event.event === 'prefect.flow-run.Crashed')
    })
    t.equal(crashed.resource['prefect.state-type'], 'CRASHED')
  })

  await t.test('flows run in processes of this machine and do as they are told', async t => {
    const [retried, outer] = await Promise.all([
      prefect.runFlow('child-with-retry', { acts: ['raise', 'return'] }),
      prefect.runFlow('child-with-inner', { acts: ['wait'] }),
    ])
    t.equal(await retried.exited(), 0)
    t.same(await stateNames(api, retried.flowRunId), [
      'Pending',
      'Running',
      'AwaitingRetry',
      'Running',
      'Completed',
    ])

    const { id: innerRunId } = await waitFor(
      'the inner flow run',
      async () => (await api.readSubflowRuns(outer.flowRunId))[0],
    )
    t.equal(await prefect.orders.started(innerRunId), outer.pid, 'an in-process subflow run')
    await prefect.orders.give(innerRunId, 'memory:10', 'kill')
    t.equal(await outer.exited(), 128 + constants.signals.SIGKILL)
    for (const id of [outer.flowRunId, innerRunId])
      t.match(await api.readFlowRun(id), { state: { type: 'RUNNING' } })
  })

  await t.test('an outage refuses connections, and its end finds the same data', async t => {
    const before = await runsAndStates(api)
    t.ok(before.length > 0)
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      await prefect.stopServer(signal)
      await t.rejects(api.readFlowRun('00000000-0000-4000-8000-000000000000'), { code: 'ECONNREFUSED' })
      await prefect.startServer()
      t.same(await runsAndStates(api), before, signal)
    }
  })

  await t.test('nothing is left after stop', async t => {
    await prefect.stop()
    t.notOk(await api.isHealthy())
    t.same(await processesOf(prefect.folder), [])
    t.notOk(existsSync(prefect.folder))
  })
})

t.test('flow runs are executed by a worker, in pods', async t => {
  const controlPlane = await startControlPlane({ jobBackOff: '1s' })
  t.teardown(controlPlane.stop)
  const node = await startProcessNode({ cluster: controlPlane })
  t.teardown(node.stop)
  const prefect = await startPrefect({ venv })
  t.teardown(prefect.stop)
  const { api, orders } = prefect
  const deployments = await prefect.setUpFlows()
  await prefect.startWorker({ kubeconfig: controlPlane.kubeconfig })

  const jobOf = async (flowRunId: string) => {
    const { items } = await controlPlane.api.list(jobs, {
      labelSelector: `prefect.io/flow-run-id=${flowRunId}`,
    })
    t.equal(items.length, 1)
    return items[0]
  }

  await t.test('a parent reads the result of its subflow run', async t => {
    const parent = await prefect.runParent({ child: 'child', acts: ['return'], readsResult: true })
    await api.waitForState(parent.childRunId, ['COMPLETED'])
    t.equal(await parent.exited(), 0)
    t.same(await stateNames(api, parent.childRunId), [
      'Scheduled',
      'Pending',
      'Submitting',
      'Running',
      'Completed',
    ])
    t.match(await api.readFlowRun(parent.parentRunId), { state: { type: 'COMPLETED' } })
    const job = await jobOf(parent.childRunId)
    t.match(await api.readFlowRun(parent.childRunId), { infrastructure_pid: `default:${job?.metadata.name}` })
  })

  await t.test('a killed container leaves its subflow run Running, and the parent waiting', async t => {
    const parent = await prefect.runParent({ child: 'child', acts: ['wait'], readsResult: true })
    await orders.started(parent.childRunId)
    await orders.give(parent.childRunId, 'kill')
    const name = (await jobOf(parent.childRunId))?.metadata.name ?? ''
    await controlPlane.api.waitFor(jobs, { name }, { until: hasFailed, what: 'to have failed' })
    const { items } = await controlPlane.api.list(pods, {
      labelSelector: `prefect.io/flow-run-id=${parent.childRunId}`,
    })
    t.match(items, [{ status: { containerStatuses: [{ state: { terminated: { exitCode: 137 } } }] } }])
    t.match(await api.readFlowRun(parent.childRunId), { state: { type: 'RUNNING' } })
    t.ok(parent.running())

    await api.setState(parent.childRunId, { type: 'CRASHED', message: 'its container was killed' })
    t.equal(await parent.exited(), 1)
    const { state } = await api.readFlowRun(parent.parentRunId)
    t.match(state, { type: 'FAILED', message: /CrashedRun: its container was killed/ })
  })

  await t.test('variables of the work pool reach the Job', async t => {
    const run = await api.createSubflowRun({
      deploymentId: deployments.child,
      parameters: { acts: ['exit:3', 'return'] },
      jobVariables: {
        // One Python rather than two: for tests that are not about `prefect flow-run execute`.
        command: 'python -m prefect.engine',
        backoff_limit: 1,
        finished_job_ttl: 600,
        active_deadline_seconds: 300,
        annotations: { 'example.com/on': 'both' },
        pod_annotations: { 'example.com/on-pod': 'yes' },
        node_selector: { 'kubernetes.io/hostname': node.name },
        env: { EXTRA: 'value' },
      },
    })
    await api.waitForState(run.flowRunId, ['COMPLETED'])
    t.match(await api.readFlowRun(run.flowRunId), { run_count: 2 })
    const job = await jobOf(run.flowRunId)
    t.match(job?.spec, {
      backoffLimit: 1,
      ttlSecondsAfterFinished: 600,
      activeDeadlineSeconds: 300,
      template: {
        metadata: { annotations: { 'example.com/on': 'both', 'example.com/on-pod': 'yes' } },
        spec: { restartPolicy: 'Never', nodeSelector: { 'kubernetes.io/hostname': node.name } },
      },
    })
  })
})

t.test('a server with authorization and CSRF protection wants both', async t => {
  const authString = 'admin:secret'
  const prefect = await startPrefect({ venv, services: false, authString, csrf: true })
  t.teardown(prefect.stop)
  t.ok(await prefect.api.createFlow('flow'))
  await t.rejects(prefectApi(prefect.apiUrl, { csrf: true }).createFlow('flow'), /answered 401.*Unauthorized/)
  await t.rejects(
    prefectApi(prefect.apiUrl, { authString }).createFlow('flow'),
    /answered 403.*Missing CSRF token/,
  )
})

t.test('nothing is left after kill -9 of whoever started it', async t => {
  const module = join(import.meta.dirname, '../cluster/prefect.ts')
  const program = `
    const { startPrefect } = await import(${JSON.stringify(module)})
    const prefect = await startPrefect({ services: false })
    process.stdout.write(JSON.stringify({ folder: prefect.folder, apiUrl: prefect.apiUrl }) + '\\n')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const [line]: unknown[] = await once(child.stdout, 'data')
  const { folder, apiUrl } = JSON.parse(String(line))
  const api = prefectApi(apiUrl)
  t.ok(await api.isHealthy())

  child.kill('SIGKILL')
  await once(child, 'exit')
  await waitFor('the folder to be removed', async () => (existsSync(folder) ? undefined : true))
  t.notOk(await api.isHealthy())
  t.same(await processesOf(folder), [])
})

t.test('a server that cannot start says why', async t => {
  const serverEnv = { PREFECT_SERVER_DATABASE_CONNECTION_URL: 'nosuchdatabase://' }
  const error = await startPrefect({ venv, serverEnv }).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  t.match(String(error), /the Prefect server did not start; last lines of .*server\.log:[^]*nosuchdatabase/)
  const [, log = ''] = /last lines of (.*):\n/.exec(String(error)) ?? []
  t.notOk(existsSync(dirname(log)), 'its folder is gone')
})

t.test('a port that is taken is not mistaken for ours', async t => {
  const other = createServer().listen(0, '127.0.0.1')
  t.teardown(() => other.close())
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  await t.rejects(startPrefect({ venv, port }), {
    message: `cannot start a Prefect server: port ${port} is taken`,
  })
})

t.test('the Python environment', async t => {
  await t.test('is made by one of several who ask at once', async t => {
    const marker = join(t.testdir(), 'complete')
    const made: number[] = []
    const make = (who: number) =>
      makeOnce(marker, venv.python, async () => {
        made.push(who)
      })
    await Promise.all([1, 2, 3].map(make))
    t.equal(made.length, 1)
  })

  await t.test('is tried again after a failure', async t => {
    const marker = join(t.testdir(), 'complete')
    const failing = makeOnce(marker, venv.python, () => Promise.reject(new Error('no package index')))
    await t.rejects(failing, /no package index/)
    t.notOk(existsSync(marker))
    await makeOnce(marker, venv.python, () => Promise.resolve())
    t.ok(existsSync(marker))
  })

  await t.test('needs a Python, and says which', async t => {
    t.intercept(process, 'env', { value: { ...process.env, PATH: '/nowhere' } })
    await t.rejects(ensureVenv(), /Prefect needs Python 3\.11 or newer .* none found/)
  })
})
