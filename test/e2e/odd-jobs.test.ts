import { randomUUID } from 'node:crypto'
import { request } from 'undici'
import t from 'tap'
import { eventually } from '../cluster/api.ts'
import { startLifeguard } from '../cluster/lifeguard.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import type { Job, Pod } from '../cluster/resources.ts'
import { jobs, nodes, pods } from '../cluster/resources.ts'
import { present, startWorld } from './world.ts'

// Jobs that no worker makes, or not like this, and nodes that are lost: the Jobs are made by hand.

/** Longer than Prefect takes to store a heartbeat; the rest is as short as can be. */
const SILENT_MS = 10_000

const world = await startWorld({
  worker: false,
  env: { LIFEGUARD_GRACES: `exited_without_reporting=1s,node_lost=2s,newer_state=${SILENT_MS}ms` },
})
const { controlPlane, node, prefect } = world
const { api } = controlPlane
t.teardown(() => world[Symbol.asyncDispose]())

const deploymentId = await prefect.api.createDeployment({ name: 'without-a-worker', flow: 'child' })

/** What a flow's process does: nothing, until it is told to end; then it takes its time. */
const SLEEP = 'sleep 600'
const SLOW_TO_END = 'trap "sleep 3; exit 1" TERM; sleep 600 & wait'

/** A subflow run that Prefect believes to be Running, or Pending. */
const startRun = async (states: readonly string[] = ['PENDING', 'RUNNING']): Promise<string> =>
  (await prefect.api.createSubflowRun({ deploymentId, states })).flowRunId

interface PodParts {
  readonly command?: string
  readonly on?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly spec?: object
}

const labelsOf = (flowRunId: string) => ({ 'prefect.io/flow-run-id': flowRunId })

const podOf = (
  flowRunId: string,
  { command = SLEEP, on = node.name, annotations = {}, spec = {} }: PodParts = {},
) => ({
  metadata: { labels: labelsOf(flowRunId), annotations },
  spec: {
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 10,
    nodeSelector: { 'kubernetes.io/hostname': on },
    containers: [{ name: 'main', image: 'none', command: ['sh', '-c', command] }],
    ...spec,
  },
})

const startJob = (
  flowRunId: string,
  { pod, ...spec }: { readonly pod?: PodParts; readonly [field: string]: unknown } = {},
): Promise<Job> =>
  api.create(jobs, {
    metadata: { name: `etl-${randomUUID().slice(0, 8)}`, labels: labelsOf(flowRunId) },
    spec: { backoffLimit: 0, ...spec, template: podOf(flowRunId, pod) },
  })

const podsOf = async (flowRunId: string): Promise<readonly Pod[]> =>
  (await api.list(pods, { labelSelector: `prefect.io/flow-run-id=${flowRunId}` })).items

const runningPods = async (flowRunId: string, count = 1): Promise<readonly Pod[]> =>
  eventually(async () => (await podsOf(flowRunId)).filter(({ status }) => status.phase === 'Running'), {
    until: found => found.length === count,
    what: `${count} running pods of ${flowRunId}`,
    timeoutMs: 60_000,
  })

const runningPod = async (flowRunId: string): Promise<Pod> => {
  const [pod] = await runningPods(flowRunId)
  if (!pod) throw new Error(`no pod of ${flowRunId}`)
  return pod
}

const jobWhen = (job: Job, what: string, until: (job: Job) => boolean): Promise<Job> =>
  api.waitFor(jobs, { name: job.metadata.name }, { what, until, timeoutMs: 60_000 })

const has =
  (type: string) =>
  ({ status }: Job) =>
    status.conditions.some(condition => condition.type === type && condition.status === 'True')

const stateOf = async (flowRunId: string) => (await prefect.api.readFlowRun(flowRunId)).state

const crashed = async (flowRunId: string) =>
  (await prefect.api.waitForState(flowRunId, ['CRASHED'], { timeoutMs: 90_000 })).state

const codeOf = (state: { readonly message?: string | null | undefined }): string | undefined =>
  /^\[(\w+)\]/.exec(state.message ?? '')?.[1]

/** How many verdicts with this reason there have been. */
async function verdicts(reason: string): Promise<number> {
  const { body } = await request(`${world.lifeguard().operations}/metrics`)
  const line = new RegExp(`^lifeguard_verdicts_total\\{.*reason="${reason}".*\\} (\\d+)`, 'm').exec(
    await body.text(),
  )
  return Number(line?.[1] ?? 0)
}

/** A heart that beats every second; stopping it tells when it beat last. */
function beat(flowRunId: string): () => Promise<number> {
  let last = 0
  const send = async (): Promise<void> => {
    last = Date.now()
    await prefect.api.send('POST', '/events', [
      {
        id: randomUUID(),
        occurred: new Date(last).toISOString(),
        event: 'prefect.flow-run.heartbeat',
        resource: { 'prefect.resource.id': `prefect.flow-run.${flowRunId}` },
        related: [],
        payload: {},
      },
    ])
  }
  let sent = send()
  const timer = setInterval(() => {
    sent = sent.then(send)
  }, 1000)
  return async () => {
    clearInterval(timer)
    await sent
    return last
  }
}

t.test('a node is lost', async t => {
  await using doomed = await startProcessNode({
    cluster: controlPlane,
    name: 'doomed',
    labels: { 'kubernetes.io/hostname': 'doomed' },
  })
  const [silent, beating] = await Promise.all([startRun(), startRun()])
  const on = { pod: { on: doomed.name } }
  const [silentJob, beatingJob] = [await startJob(silent, on), await startJob(beating, on)]
  const [silentPod, beatingPod] = [await runningPod(silent), await runningPod(beating)]
  const stopBeating = beat(beating)
  await doomed.goDown('CutOff')
  for (const { metadata } of [silentPod, beatingPod])
    await api.remove(pods, { name: metadata.name }, { gracePeriodSeconds: 1 })
  await jobWhen(silentJob, 'to announce its end', has('FailureTarget'))

  const end = await crashed(silent)
  t.equal(codeOf(end), 'node_lost')
  t.equal((await podsOf(silent)).length, 1, 'its pod is Terminating for ever')
  t.notOk(has('Failed')(await jobWhen(silentJob, 'to be there', () => true)), 'and its Job never fails')
  const lost = await api.get(nodes, { name: doomed.name })
  const ready = lost?.status.conditions.find(({ type }) => type === 'Ready')
  t.equal(ready?.status, 'Unknown')
  t.ok(
    Date.parse(end.timestamp) >= Date.parse(ready?.lastTransitionTime ?? '') + 2000,
    'it was waited for the node',
  )

  // Somebody states that the machine is off, as one does to have its pods removed; but the flow goes on there.
  await api.patch(
    nodes,
    { name: doomed.name },
    {
      type: 'strategic-merge',
      body: {
        spec: { taints: [{ key: 'node.kubernetes.io/out-of-service', value: 'off', effect: 'NoExecute' }] },
      },
    },
  )
  await jobWhen(beatingJob, 'to fail', has('Failed'))
  t.equal((await podsOf(beating)).length, 0, 'pod garbage collection has removed its pod')
  const before = await verdicts('HeartIsBeating')
  await present('another look at it', async () =>
    (await verdicts('HeartIsBeating')) > before ? true : undefined,
  )
  t.equal((await stateOf(beating)).type, 'RUNNING', 'its heart beats: it is left alone')
  const last = await stopBeating()
  const later = await crashed(beating)
  t.equal(codeOf(later), 'node_lost')
  t.ok(Date.parse(later.timestamp) >= last + SILENT_MS, 'only when its heart had been silent for long')
})

t.test('an Indexed Job lives as long as any index may', async t => {
  const flowRunId = await startRun()
  const job = await startJob(flowRunId, {
    completionMode: 'Indexed',
    completions: 2,
    parallelism: 2,
    backoffLimit: undefined,
    backoffLimitPerIndex: 0,
    pod: { command: `if [ "$JOB_COMPLETION_INDEX" = 0 ]; then exit 3; fi; ${SLEEP}` },
  })
  await jobWhen(job, 'to give up on its first index', ({ status }) => status['failedIndexes'] === '0')
  await jobWhen(job, 'to be looked at after that', ({ metadata }) =>
    Object.hasOwn(metadata.annotations ?? {}, 'prefect-lifeguard.dev/dead-pods'),
  )
  t.equal((await stateOf(flowRunId)).type, 'RUNNING')
  node.kill((await runningPod(flowRunId)).metadata.uid, 'SIGKILL')
  t.equal(codeOf(await crashed(flowRunId)), 'error_exit')
  t.ok(has('Failed')(await jobWhen(job, 'to be there', () => true)), 'and so did the other one')
})

t.test('a parallel Job that has failed lives as long as one of its pods does', async t => {
  const flowRunId = await startRun()
  const job = await startJob(flowRunId, { completions: 2, parallelism: 2, pod: { command: SLOW_TO_END } })
  const [first, second] = await runningPods(flowRunId, 2)
  if (!first || !second) throw new Error('there are no two pods')
  node.kill(first.metadata.uid, 'SIGKILL')
  await jobWhen(job, 'to announce its end', has('FailureTarget'))
  t.equal((await stateOf(flowRunId)).type, 'RUNNING', 'the other one handles SIGTERM')
  const end = await crashed(flowRunId)
  const { status } = await jobWhen(job, 'to fail', has('Failed'))
  const failed = status.conditions.find(({ type }) => type === 'Failed')
  t.ok(Date.parse(end.timestamp) >= Date.parse(failed?.lastTransitionTime ?? ''), 'it ended after the Job')
})

t.test('a pod without a Job', async t => {
  const flowRunId = await startRun()
  const { metadata, spec } = podOf(flowRunId)
  const pod = await api.create(pods, { metadata: { ...metadata, name: 'on-its-own' }, spec })
  t.ok(pod.metadata.labels?.['prefect.io/parent-task-run-id'], 'it is labelled')
  await runningPod(flowRunId)
  t.equal((await stateOf(flowRunId)).type, 'RUNNING')
  node.kill(pod.metadata.uid, 'OOMKilled')
  t.equal(codeOf(await crashed(flowRunId)), 'oom_killed')
})

t.test('a Job that another controller manages ends when that one says so', async t => {
  const flowRunId = await startRun()
  const job = await startJob(flowRunId, { managedBy: 'example.com/elsewhere' })
  const reference = { name: job.metadata.name }
  const say = (status: object) => api.patch(jobs, reference, { subresource: 'status', body: { status } })
  const now = new Date().toISOString()
  const condition = (type: string) => ({
    type,
    status: 'True',
    reason: 'BackoffLimitExceeded',
    message: 'it failed over there',
    lastTransitionTime: now,
    lastProbeTime: now,
  })
  await say({ startTime: now, active: 1 })
  await say({ active: 0, failed: 1, conditions: [condition('FailureTarget')] })
  t.equal((await stateOf(flowRunId)).type, 'RUNNING', 'it has only announced its end')
  await say({ conditions: [condition('FailureTarget'), condition('Failed')] })
  t.equal(codeOf(await crashed(flowRunId)), 'backoff_limit_exceeded')
})

t.test('a run without a deployment has a Job of its own and gets no new attempt', async t => {
  const flowId = await prefect.api.createFlow('submitted')
  const submit = async (parentFlowRunId: string | undefined, more: object): Promise<string> => {
    const parent = parentFlowRunId === undefined ? {} : { parentFlowRunId }
    const { parentTaskRunId } = await prefect.api.createSubflowRun({ deploymentId, ...parent })
    const made = await prefect.api.send('POST', '/flow_runs/', {
      flow_id: flowId,
      parent_task_run_id: parentTaskRunId,
      state: { type: 'PENDING' },
      ...more,
    })
    const { id } = made as { readonly id: string }
    await prefect.api.setState(id, { type: 'RUNNING' })
    return id
  }
  const inPool = { work_pool_name: 'kubernetes', empirical_policy: { retries: 3 } }
  const parent = await submit(undefined, inPool)
  const [child, inner] = [await submit(parent, inPool), await submit(parent, {})]
  await Promise.all([startJob(parent), startJob(child)])
  const pod = await runningPod(child)
  node.kill((await runningPod(parent)).metadata.uid, 'OOMKilled')
  t.equal(
    codeOf(await crashed(parent)),
    'oom_killed',
    'three retries are left, and nobody who could carry them out',
  )
  t.equal(codeOf(await crashed(inner)), 'oom_killed', 'what ran in its process ends with it')
  await world
    .lifeguard()
    .waitForLine('the verdict', line => line['flowRunId'] === parent && line['outcome'] === 'crashed')
  t.equal((await stateOf(child)).type, 'RUNNING', 'what it had submitted lives in a Job of its own')
  node.kill(pod.metadata.uid, 'SIGKILL')
  t.equal(codeOf(await crashed(child)), 'error_exit')
})

/** With what to do about a start that is stuck for two seconds. */
const startWith = (stuckStart: string) =>
  startLifeguard({
    kubeconfig: controlPlane.kubeconfig,
    apiUrl: prefect.apiUrl,
    failureState: 'crashed',
    env: { LIFEGUARD_STUCK_START: stuckStart, LIFEGUARD_STUCK_START_GRACE: '2s' },
  })

t.test('a start that is stuck for longer than its grace', async t => {
  const UNPULLABLE = { annotations: { 'process-node.test/play': 'ImagePullBackOff' } }
  const HOMELESS = { on: 'nowhere' }
  await world.lifeguard().stop()

  await t.test('crash: its run ends, and its Job is left', async t => {
    await using _ = await startWith('crash')
    const [unpullable, homeless] = await Promise.all([startRun(['PENDING']), startRun(['PENDING'])])
    const job = await startJob(unpullable, { pod: UNPULLABLE })
    await startJob(homeless, { pod: HOMELESS })
    t.equal(codeOf(await crashed(unpullable)), 'image_pull_backoff')
    t.equal(codeOf(await crashed(homeless)), 'unschedulable')
    t.notOk((await api.get(jobs, { name: job.metadata.name }))?.spec.suspend)
  })

  await t.test('crash-and-suspend: its Job can come to life no more', async t => {
    await using _ = await startWith('crash-and-suspend')
    const flowRunId = await startRun(['PENDING'])
    const job = await startJob(flowRunId, { pod: HOMELESS })
    t.equal(codeOf(await crashed(flowRunId)), 'unschedulable')
    const { spec } = await jobWhen(job, 'to be suspended', has('Suspended'))
    t.equal(spec.suspend, true)
    await present('the end of its pods', async () =>
      (await podsOf(flowRunId)).length === 0 ? true : undefined,
    )
    t.equal(
      (await prefect.api.readStates(flowRunId)).filter(({ type }) => type === 'CRASHED').length,
      1,
      'once',
    )
  })
})
