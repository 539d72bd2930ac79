import t from 'tap'
import { jobs, pods } from '../cluster/resources.ts'
import type { Run, World } from './world.ts'
import { present, startWorld } from './world.ts'

/** Graces are minutes in earnest; nobody wants to wait for them here. */
const SHORT_GRACES = 'exited_without_reporting=2s,node_lost=2s,cancelling=2s,newer_state=3s,orphan=2s'

const world = await startWorld({
  env: {
    LIFEGUARD_GRACES: SHORT_GRACES,
    LIFEGUARD_WORK_POOLS: 'kubernetes',
    LIFEGUARD_ORPHAN_SCAN_INTERVAL: '5s',
  },
})
const { controlPlane, node, prefect } = world
const { api } = controlPlane
t.teardown(() => world[Symbol.asyncDispose]())

interface Death {
  readonly jobVariables?: Record<string, unknown>
  /** Whether the flow says Running before it dies. */
  readonly reports?: boolean
  /** What is done to it once its pod runs; nothing where it dies by itself. */
  readonly hurt?: (run: Run, world: World) => Promise<void>
  readonly code: string
}

const kill = (how: 'SIGKILL' | 'OOMKilled') => async (run: Run) => {
  node.kill((await run.runningPod()).metadata.uid, how)
}

const FAIL_ON_137 = {
  rules: [
    { action: 'FailJob', onExitCodes: { containerName: 'prefect-job', operator: 'In', values: [137] } },
  ],
}

/** A process that ends when it is told to, and says so by its exit code, as `relinquish` does. */
const OBEDIENT = 'sh -c "trap \'exit 1\' TERM; sleep 600 & wait"'

const DEATHS: Readonly<Record<string, Death>> = {
  'its memory runs out': { reports: true, hurt: kill('OOMKilled'), code: 'oom_killed' },
  'somebody kills it': { reports: true, hurt: kill('SIGKILL'), code: 'error_exit' },
  'its process fails before it reaches Prefect': {
    jobVariables: { command: 'sh -c "exit 3"' },
    code: 'error_exit',
  },
  'an init container fails': {
    jobVariables: { init_containers: [{ name: 'prepare', image: 'none', command: ['sh', '-c', 'exit 4'] }] },
    code: 'init_container_failed',
  },
  'it exits with 0 and never reported': {
    jobVariables: { command: 'sh -c "sleep 3"' },
    reports: true,
    code: 'exited_without_reporting',
  },
  'a pod failure policy ends the Job': {
    jobVariables: { backoff_limit: 3, pod_failure_policy: FAIL_ON_137 },
    reports: true,
    hurt: kill('SIGKILL'),
    code: 'pod_failure_policy',
  },
  'the Job’s deadline passes': {
    jobVariables: { backoff_limit: 1, active_deadline_seconds: 4, command: OBEDIENT },
    reports: true,
    code: 'deadline_exceeded',
  },
  'the kubelet evicts it': {
    reports: true,
    hurt: async run => node.evict((await run.runningPod()).metadata.uid),
    code: 'evicted',
  },
  'its Job is deleted': {
    jobVariables: { backoff_limit: 1, command: OBEDIENT },
    reports: true,
    hurt: async run => {
      await run.runningPod()
      await api.remove(jobs, { name: (await run.job()).metadata.name }, { propagationPolicy: 'Background' })
    },
    code: 'job_deleted',
  },
  'its Job is collected a second after it failed': {
    jobVariables: { finished_job_ttl: 1 },
    reports: true,
    hurt: kill('OOMKilled'),
    code: 'oom_killed',
  },
}

t.test('each way of dying ends Crashed with its diagnosis', async t => {
  await Promise.all(
    Object.entries(DEATHS).map(async ([how, { jobVariables = {}, reports = false, hurt, code }]) => {
      const run = await world.startRun({ jobVariables })
      if (reports) {
        await run.runningPod()
        await run.reportRunning()
      }
      await hurt?.(run, world)
      const end = await prefect.api.waitForState(run.flowRunId, ['CRASHED'], { timeoutMs: 90_000 })
      t.equal(/^\[(\w+)\]/.exec(end.state?.message ?? '')?.[1], code, how)
    }),
  )
})

const STUCK: Readonly<
  Record<string, { readonly jobVariables: Record<string, unknown>; readonly code: string }>
> = {
  'its image cannot be pulled': {
    jobVariables: { pod_annotations: { 'process-node.test/play': 'ImagePullBackOff' } },
    code: 'image_pull_backoff',
  },
  'no node fits': { jobVariables: { node_selector: { no: 'such-node' } }, code: 'unschedulable' },
  'a Secret of its environment is missing': {
    jobVariables: { env_from: [{ secretRef: { name: 'no-such-secret' } }] },
    code: 'container_config_error',
  },
}

t.test('what cannot start is told of, and left as it is', async t => {
  await Promise.all(
    Object.entries(STUCK).map(async ([why, { jobVariables, code }]) => {
      const run = await world.startRun({ jobVariables })
      const line = await world
        .lifeguard()
        .waitForLine(why, ({ flowRunId, verdict }) => flowRunId === run.flowRunId && verdict === 'report')
      t.match(line, { reason: 'StartIsStuck', code }, why)
      t.equal((await prefect.api.readFlowRun(run.flowRunId)).state?.type, 'PENDING')
    }),
  )
})

t.test('a Job that is suspended and resumed is left alone', async t => {
  const run = await world.startRun({ jobVariables: { command: OBEDIENT } })
  await run.runningPod()
  await run.reportRunning()
  const { name } = (await run.job()).metadata
  await api.patch(jobs, { name }, { body: { spec: { suspend: true } } })
  await present('the end of its pods', async () => ((await run.pods()).length === 0 ? true : undefined))
  await api.patch(jobs, { name }, { body: { spec: { suspend: false } } })
  await run.runningPod()
  t.equal((await prefect.api.readFlowRun(run.flowRunId)).state?.type, 'RUNNING')
})

t.test('a run that is cancelling and whose Job is gone becomes Cancelled', async t => {
  const run = await world.startRun()
  await run.runningPod()
  await run.reportRunning()
  await prefect.api.setState(run.flowRunId, { type: 'CANCELLING', name: 'Cancelling' }, true)
  await api.remove(jobs, { name: (await run.job()).metadata.name }, { propagationPolicy: 'Background' })
  const end = await prefect.api.waitForState(run.flowRunId, ['CANCELLED', 'CRASHED'], { timeoutMs: 90_000 })
  t.equal(end.state?.type, 'CANCELLED')
})

t.test('a retry that waits in a dead process is freed: Prefect would never pick it up', async t => {
  const run = await world.startRun()
  await run.runningPod()
  await run.reportRunning()
  const { empirical_policy: policy } = await prefect.api.readFlowRun(run.flowRunId)
  await prefect.api.updateFlowRun(run.flowRunId, {
    empirical_policy: { ...policy, retries: 1, retry_type: 'in_process' },
  })
  const later = new Date(Date.now() + 2000).toISOString()
  await prefect.api.setState(
    run.flowRunId,
    { type: 'SCHEDULED', name: 'AwaitingRetry', state_details: { scheduled_time: later } },
    true,
  )
  const first = await run.job()
  node.kill((await run.runningPod()).metadata.uid, 'SIGKILL')
  const second = await present('the Job of a new attempt', async () => {
    const job = await run.job()
    return job.metadata.uid === first.metadata.uid ? undefined : job
  })
  t.ok(second.metadata.labels?.['prefect.io/parent-task-run-id'], 'a worker took it up')
  t.equal((await prefect.api.readFlowRun(run.flowRunId)).empirical_policy?.['retry_type'], 'reschedule')
})

t.test('retries of Prefect: killed once, the flow runs anew and is Completed', async t => {
  const run = await world.startRun({
    flow: 'child-with-retry',
    acts: ['kill', 'return'],
    isReal: true,
    jobVariables: { command: 'python -m prefect.engine' },
  })
  const end = await prefect.api.waitForState(run.flowRunId, ['COMPLETED', 'CRASHED', 'FAILED'], {
    timeoutMs: 120_000,
  })
  t.equal(end.state?.type, 'COMPLETED')
  const states = await prefect.api.readStates(run.flowRunId)
  t.match(
    states.find(({ name }) => name === 'AwaitingRetry')?.message,
    /new attempt 1 of at most 5/,
    'and it says whose attempt',
  )
})

t.test('a flow that reschedules itself on SIGTERM is left to itself', async t => {
  const run = await world.startRun({ isReal: true, acts: ['wait', 'return'] })
  await prefect.orders.started(run.flowRunId)
  await prefect.api.waitForState(run.flowRunId, ['RUNNING'])
  const pod = await run.runningPod()
  await api.remove(pods, { name: pod.metadata.name })
  const end = await prefect.api.waitForState(run.flowRunId, ['COMPLETED', 'CRASHED', 'FAILED'], {
    timeoutMs: 120_000,
  })
  t.equal(end.state?.type, 'COMPLETED')
  t.notOk((await prefect.api.readStates(run.flowRunId)).some(({ type }) => type === 'CRASHED'))
})

t.test('subflows that ran in the dead process end with it', async t => {
  const run = await world.startRun({
    flow: 'child-with-inner',
    isReal: true,
    jobVariables: { command: 'python -m prefect.engine' },
  })
  const inner = await present('the inner run', async () =>
    (await prefect.api.readSubflowRuns(run.flowRunId)).find(({ state }) => state?.type === 'RUNNING'),
  )
  node.kill((await run.runningPod()).metadata.uid, 'SIGKILL')
  await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  const end = await prefect.api.waitForState(inner.id, ['CRASHED'])
  t.match(end.state?.message, /^\[error_exit\]/, 'with the same words')
})

t.test('a death that nobody watched is seen at the next start', async t => {
  const [killed, deleted] = await Promise.all([
    world.startRun(),
    world.startRun({ jobVariables: { backoff_limit: 1, command: OBEDIENT } }),
  ])
  for (const run of [killed, deleted]) {
    await run.runningPod()
    await run.reportRunning()
  }
  await world.lifeguard().stop('SIGKILL')
  node.kill((await killed.runningPod()).metadata.uid, 'OOMKilled')
  await api.remove(jobs, { name: (await deleted.job()).metadata.name }, { propagationPolicy: 'Background' })
  await present('the end of the deleted Job’s pod', async () =>
    (await deleted.pods()).length === 0 ? true : undefined,
  )
  await world.startLifeguard()
  t.match((await prefect.api.waitForState(killed.flowRunId, ['CRASHED'])).state?.message, /^\[oom_killed\]/)
  t.match(
    (await prefect.api.waitForState(deleted.flowRunId, ['CRASHED'], { timeoutMs: 90_000 })).state?.message,
    /^\[job_deleted\]/,
  )
})
