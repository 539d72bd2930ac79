import t from 'tap'
import { events as eventResource, jobs, pods } from '../cluster/resources.ts'
import { present, startWorld } from './world.ts'

const LABEL = 'prefect.io/parent-task-run-id'
const ANNOTATION = 'prefect.io/finalizer-free'

const world = await startWorld()
const { controlPlane, node, prefect } = world
const { api } = controlPlane
t.teardown(() => world[Symbol.asyncDispose]())

t.test(
  'a subflow run gets its label on the way in, dies, and ends Crashed with a diagnosis; its parent goes on',
  async t => {
    const parent = await prefect.runParent({ child: 'child', acts: ['wait'] })
    const query = { labelSelector: `prefect.io/flow-run-id=${parent.childRunId}` }
    await prefect.orders.started(parent.childRunId)
    await prefect.api.waitForState(parent.childRunId, ['RUNNING'])
    const [job] = (await api.list(jobs, query)).items
    const run = await prefect.api.readFlowRun(parent.childRunId)
    const marks = { labels: { [LABEL]: run.parent_task_run_id }, annotations: { [ANNOTATION]: 'true' } }
    t.match(job?.metadata, marks, 'the Job carries label and annotation')
    t.match(job?.spec, { template: { metadata: marks } }, 'so does its template')
    t.strictSame(job?.metadata.finalizers ?? [], [], 'and no finalizer')
    node.kill(`default/${(await runningPodOf(query)).metadata.name}`, 'OOMKilled')
    const end = await prefect.api.waitForState(parent.childRunId, ['CRASHED'])
    t.match(end.state?.message, /^\[oom_killed\] .* Resolution: /s, 'the state says why')
    t.equal(await parent.exited(), 0, 'the parent went on to its end')
    t.equal((await prefect.api.readFlowRun(parent.parentRunId)).state?.type, 'COMPLETED')
  },
)

t.test('what people see of a death', async t => {
  const run = await world.startRun({ jobVariables: { command: 'sh -c "echo the last words; exit 3"' } })
  await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  const job = await present('the annotation of the Job', async () => {
    const found = await run.job()
    return found.metadata.annotations?.['prefect-lifeguard.dev/diagnosis'] === undefined ? undefined : found
  })
  t.match(
    job.metadata.annotations?.['prefect-lifeguard.dev/diagnosis'],
    /^\[error_exit\]/,
    'an annotation on the Job',
  )
  t.match(
    job.metadata.annotations?.['prefect-lifeguard.dev/trail'],
    /runIsDead: crash JobFailed/,
    'and the trail',
  )
  const logs = await present('the lines in the run’s logs', async () => {
    const lines = await prefect.api.readLogs(run.flowRunId)
    return lines.some(({ message }) => message.includes('the last words')) ? lines : undefined
  })
  t.match(
    logs.find(({ message }) => message.startsWith('[error_exit]')),
    { name: 'prefect-lifeguard', level: 40, message: /^\[error_exit\] .* Resolution: /s },
    "the diagnosis in the run's logs, as an error",
  )
  const events = await present('the event in Prefect', async () => {
    const found = await prefect.api.readEvents({
      resourceId: `prefect.flow-run.${run.flowRunId}`,
      prefix: 'prefect-lifeguard.',
    })
    return found.length > 0 ? found : undefined
  })
  t.match(events[0], {
    event: 'prefect-lifeguard.flow-run.crashed',
    resource: {
      'prefect.resource.id': `prefect.flow-run.${run.flowRunId}`,
      'prefect-lifeguard.diagnosis': 'error_exit',
    },
  })
  const { deployment_id, flow_id, work_pool_id } = await prefect.api.readFlowRun(run.flowRunId)
  for (const [role, id] of [
    ['flow', `prefect.flow.${flow_id}`],
    ['deployment', `prefect.deployment.${deployment_id}`],
    ['work-pool', `prefect.work-pool.${String(work_pool_id)}`],
  ] as const)
    t.ok(
      events[0]?.related.some(
        related => related['prefect.resource.role'] === role && related['prefect.resource.id'] === id,
      ),
      `which is related to the ${role}, as automations filter`,
    )
  const line = await world
    .lifeguard()
    .waitForLine(
      'the verdict',
      ({ msg, flowRunId }) => flowRunId === run.flowRunId && msg.startsWith('[error_exit]'),
    )
  t.match(line, { verdict: 'crash', code: 'error_exit' }, 'a line in our log')
  const note = await present('the Event on the Job', async () => {
    const found = await api.list(eventResource, { fieldSelector: `involvedObject.uid=${job.metadata.uid}` })
    return found.items.find(({ reason }) => reason === 'FlowRunCrashed')
  })
  t.match(note.message, /^\[error_exit\]/, 'a Kubernetes Event on the Job')
})

t.test('a top-level run is nobody’s subflow: its Job is untouched, and its death is its own', async t => {
  const { id } = await prefect.api.createFlowRun({
    deploymentId: world.flows.child,
    jobVariables: { command: 'sh -c "exit 3"' },
  })
  const job = await present('its failed Job', async () => {
    const [found] = (await api.list(jobs, { labelSelector: `prefect.io/flow-run-id=${id}` })).items
    return found?.status?.conditions?.some(({ type }) => type === 'Failed') ? found : undefined
  })
  t.equal(job.metadata.labels?.[LABEL], undefined)
  t.equal(job.metadata.annotations?.[ANNOTATION], undefined)
  t.equal((await prefect.api.readFlowRun(id)).state?.type, 'PENDING', 'as the worker left it')
})

t.test('a Job with backoffLimit 2 is not dead before its third pod', async t => {
  const run = await world.startRun({ jobVariables: { backoff_limit: 2 } })
  for (const death of [1, 2, 3]) {
    const pod = await run.runningPod()
    await run.reportRunning()
    t.not((await prefect.api.readFlowRun(run.flowRunId)).state?.type, 'CRASHED', `before death ${death}`)
    node.kill(pod.metadata.uid, 'SIGKILL')
    await present(`the end of pod ${pod.metadata.name}`, async () =>
      (await run.pods()).find(
        ({ metadata, status }) => metadata.uid === pod.metadata.uid && status?.phase === 'Failed',
      ),
    )
  }
  const end = await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  const states = await prefect.api.readStates(run.flowRunId)
  t.equal((await run.pods()).length, 3)
  t.equal(states.filter(({ type }) => type === 'CRASHED').length, 1, 'said once')
  t.match(end.state?.message, /^\[error_exit\]/)
})

t.test('a retry of Kubernetes that succeeds leaves the run Completed', async t => {
  const run = await world.startRun({
    isReal: true,
    acts: ['kill', 'return'],
    jobVariables: { backoff_limit: 2, command: 'python -m prefect.engine' },
  })
  const end = await prefect.api.waitForState(run.flowRunId, ['COMPLETED', 'CRASHED', 'FAILED'])
  t.equal(end.state?.type, 'COMPLETED')
  t.equal(end.run_count, 2, 'in its second pod')
  t.notOk(
    (await prefect.api.readStates(run.flowRunId)).some(({ type }) => type === 'CRASHED'),
    'never called dead',
  )
})

t.test('with Prefect gone Jobs and pods are created at once, and are labelled when it is back', async t => {
  const deploymentId = await prefect.api.createDeployment({ name: 'no-worker', flow: 'child' })
  const { flowRunId, parentTaskRunId } = await prefect.api.createSubflowRun({
    deploymentId,
    states: ['PENDING', 'RUNNING'],
  })
  await prefect.stopServer('SIGKILL')
  const labels = { 'prefect.io/flow-run-id': flowRunId }
  const container = { name: 'main', image: 'none', command: ['sleep', '600'] }
  const { metadata } = await api.create(jobs, {
    metadata: { name: 'while-prefect-is-gone', labels },
    spec: {
      backoffLimit: 0,
      template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers: [container] } },
    },
  })
  t.equal(metadata.labels?.[LABEL], undefined, 'the Job passed without its label')
  const pod = await runningPodOf({ labelSelector: `prefect.io/flow-run-id=${flowRunId}` })
  t.equal(pod.metadata.labels?.[LABEL], undefined, 'so did its pod, and it runs')
  await prefect.startServer()
  const isLabelled = (object: { metadata: { labels?: Record<string, string> | undefined } }): boolean =>
    object.metadata.labels?.[LABEL] === parentTaskRunId
  await api.waitFor(
    jobs,
    { name: metadata.name },
    { until: isLabelled, what: 'to be labelled', timeoutMs: 60_000 },
  )
  await api.waitFor(
    pods,
    { name: pod.metadata.name },
    { until: isLabelled, what: 'to be labelled', timeoutMs: 60_000 },
  )
  node.kill(pod.metadata.uid, 'SIGKILL')
  await prefect.api.waitForState(flowRunId, ['CRASHED'])
  t.pass('and its death is seen like any other')
})

async function runningPodOf(query: { labelSelector: string }) {
  return present('a running pod', async () =>
    (await api.list(pods, query)).items.find(({ status }) => status?.phase === 'Running'),
  )
}
