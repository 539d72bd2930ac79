import { randomUUID } from 'node:crypto'
import { request } from 'undici'
import t from 'tap'
import { clientOf } from '../admission/on-cluster.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import { anyResource, events, jobs, leases, namespaces, nodes, pods, secrets } from '../cluster/resources.ts'
import type { Job, Pod } from '../cluster/resources.ts'
import { auditOf, covers, rightsOf, usesIn, wordsOf } from '../manifests/audit.ts'
import type { Use } from '../manifests/audit.ts'
import { install, NAMESPACE, USERNAME } from '../manifests/installation.ts'
import type { Installation } from '../manifests/installation.ts'
import { startServe } from '../manifests/product.ts'
import type { Product } from '../manifests/product.ts'
import { queries } from '../manifests/monitoring.ts'
import { parseQuery } from '../manifests/promql.ts'
import type { Matcher } from '../manifests/promql.ts'
import { renderOurs, renderWith } from '../manifests/render.ts'

/**
 * `serve` under the service account of manifests/, with real RBAC and the API server's audit log on: through
 * everything that needs a right, and then what was used and what is granted are compared, both ways.
 */

t.setTimeout(300_000)

const FLOW_RUN = 'prefect.io/flow-run-id'
const PARENT = 'prefect.io/parent-task-run-id'
const WAIT_MS = 90_000

const folder = t.testdir()
const audit = await auditOf(USERNAME, folder)
const [controlPlane, prefect] = await Promise.all([
  startControlPlane({ apiserverFlags: audit.flags, nodeMonitorGraceSeconds: 4 }),
  startPrefect(),
])
const node = await startProcessNode({ cluster: controlPlane })
const { api } = controlPlane
const { ask, close } = clientOf(controlPlane)
let product: Product | undefined
t.teardown(async () => {
  await product?.kill()
  await close()
  await node.stop()
  await prefect.stop()
  await controlPlane.stop()
})

/** Graces that a test need not wait for; the rest is as the manifests have it. */
const IMPATIENT = {
  PREFECT_API_URL: prefect.apiUrl,
  PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_HANDLE_SUBFLOW_FAILURE_STATE: 'crashed',
  LIFEGUARD_STUCK_START_GRACE: '0s',
  LIFEGUARD_GRACES: 'node_lost=1s,missing_job=1s,close_call=1s,newer_state=1s',
} as const

async function start(installation: Installation): Promise<void> {
  const started = await startServe({ ...installation.env, ...IMPATIENT })
  product = started
  const ready = eventually(() => readyz(installation), {
    until: text => text.endsWith('\nok\n') && text.includes('this replica leads'),
    what: 'the replica to be ready and to lead',
    timeoutMs: WAIT_MS,
  })
  const ended = started.exited.then(code => {
    throw new Error(`it ended with ${code}`)
  })
  await Promise.race([ready, ended]).catch((cause: unknown) => {
    throw new Error(`it did not get ready; its last lines:\n${started.log().slice(-30).join('\n')}`, {
      cause,
    })
  })
  ended.catch(() => {})
}

async function readyz({ operationsPort }: Installation): Promise<string> {
  const { body } = await request(`http://localhost:${operationsPort}/readyz`)
  return body.text()
}

const deploymentId = await prefect.api.createDeployment({ name: 'without-a-worker', flow: 'child' })

interface Run {
  readonly flowRunId: string
  readonly parentTaskRunId: string
  readonly job: Job
  readonly look: () => Promise<Job>
  readonly runningPod: () => Promise<Pod>
}

/** A subflow run that Prefect believes to run, and the Job that a worker would have made for it. */
async function startRun({
  namespace = 'default',
  command = 'sleep 600',
  job: jobSpec = {},
  pod: podSpec = {},
  annotations = {},
}: {
  readonly namespace?: string
  readonly command?: string
  /** More of `spec`, of the Job and of its pods. */
  readonly job?: object
  readonly pod?: object
  readonly annotations?: object
} = {}): Promise<Run> {
  const { flowRunId, parentTaskRunId } = await prefect.api.createSubflowRun({
    deploymentId,
    states: ['PENDING', 'RUNNING'],
  })
  const labels = { [FLOW_RUN]: flowRunId }
  const container = { name: 'main', image: 'none', command: ['sh', '-c', command] }
  const job = await api.create(jobs, {
    metadata: { name: `child-${randomUUID().slice(0, 8)}`, namespace, labels },
    spec: {
      backoffLimit: 0,
      ...jobSpec,
      template: {
        metadata: { labels, annotations },
        spec: { restartPolicy: 'Never', containers: [container], ...podSpec },
      },
    },
  })
  const reference = { namespace, name: job.metadata.name }
  return {
    flowRunId,
    parentTaskRunId,
    job,
    look: () => api.waitFor(jobs, reference, { until: () => true, what: 'to be there' }),
    runningPod: async () => {
      const query = { namespace, labelSelector: `${FLOW_RUN}=${flowRunId}` }
      const running = await eventually(
        async () => (await api.list(pods, query)).items.find(({ status }) => status?.phase === 'Running'),
        { until: pod => pod !== undefined, what: `a running pod of ${flowRunId}`, timeoutMs: WAIT_MS },
      )
      if (!running) throw new Error(`no running pod of ${flowRunId}`)
      return running
    },
  }
}

const isLabelled =
  (parentTaskRunId: string) =>
  ({ metadata }: Job | Pod): boolean =>
    metadata.labels?.[PARENT] === parentTaskRunId

/** A new connection has to answer something; what, does not matter, and 403 would do. */
const OPEN_TO_ALL = '/version'

const isRefused = ({ code }: Use): boolean => code === 403

const wordsOfAll = (all: readonly Use[]): readonly string[] => [...new Set(all.map(wordsOf))]

const uses = (): Promise<readonly Use[]> => usesIn(audit.file)

async function untilUsed(what: string, isIt: (use: Use) => boolean): Promise<void> {
  await eventually(uses, { until: all => all.some(isIt), what, timeoutMs: WAIT_MS })
}

const eventsAbout = async ({ metadata: { uid, namespace = 'default' } }: Job) =>
  (await api.list(events, { namespace, fieldSelector: `involvedObject.uid=${uid}` })).items

const isDiagnosed = (code: string) => ({
  until: ({ metadata }: Job) =>
    metadata.annotations?.['prefect-lifeguard.dev/diagnosis']?.startsWith(`[${code}]`) === true,
  what: `to be diagnosed ${code}`,
  timeoutMs: WAIT_MS,
})

/** Whether a line announces the metric, or, where a label is asked for by value, is a series that has it. */
const exports =
  (metric: string, matchers: readonly Matcher[]) =>
  (line: string): boolean => {
    const asked = matchers.filter(({ operator }) => operator === '=')
    return asked.length === 0
      ? line.startsWith(`# TYPE ${metric.replace(/_(bucket|sum|count)$/, '')} `)
      : line.startsWith(`${metric}{`) &&
          asked.every(({ label, value }) => line.includes(`${label}="${value}"`))
  }

const isOfRuns = ({ resource }: Use): boolean => /^(jobs|pods|pods\/log|events)$/.test(resource)

// With the component that fences what RBAC cannot: nothing that the program does is refused by it.
const base = await renderWith(folder, 'own-metadata-only')

const clusterRoleBindings = anyResource({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  plural: 'clusterrolebindings',
  namespaced: false,
})

t.test('under the service account of the base', async t => {
  const missed = await startRun()
  const missedPod = await missed.runningPod()
  const installation = await install({ ask, controlPlane, folder }, base)
  await start(installation)

  await t.test('what admission missed is labelled', async t => {
    const until = isLabelled(missed.parentTaskRunId)
    for (const [resource, { metadata }] of [
      [jobs, missed.job],
      [pods, missedPod],
    ] as const)
      await api.waitFor<Job | Pod>(resource, metadata, { until, what: 'to be labelled', timeoutMs: WAIT_MS })
    t.pass('the Job and its pod')
  })

  await t.test('a run is labelled on its way in, dies, and its death is told everywhere', async t => {
    const run = await startRun({ command: 'echo the last words; exit 3' })
    t.ok(isLabelled(run.parentTaskRunId)(run.job), 'the API server trusts our authority and calls us')
    const { state } = await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
    t.match(state?.message, /^\[error_exit\]/)
    const annotated = await api.waitFor(
      jobs,
      { name: run.job.metadata.name },
      {
        until: ({ metadata }) => metadata.annotations?.['prefect-lifeguard.dev/diagnosis'] !== undefined,
        what: 'to be annotated',
      },
    )
    await eventually(() => eventsAbout(annotated), {
      until: found => found.some(({ reason }) => reason === 'FlowRunCrashed'),
      what: 'the Event on the Job',
    })
    await eventually(() => prefect.api.readLogs(run.flowRunId), {
      until: lines => lines.some(({ message }) => message.includes('the last words')),
      what: "the pod's last words in the run's logs",
      timeoutMs: WAIT_MS,
    })
  })

  await t.test('a Job is deleted, and its pod goes without a good-bye', async () => {
    const run = await startRun()
    const pod = await run.runningPod()
    await api.remove(jobs, { name: run.job.metadata.name }, { propagationPolicy: 'Orphan' })
    await api.remove(pods, { name: pod.metadata.name }, { gracePeriodSeconds: 0 })
    await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  })

  await t.test('a Job takes too long: Events may know more than that', async () => {
    const run = await startRun({ job: { activeDeadlineSeconds: 1 } })
    await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  })

  await t.test(
    'a pod cannot start for one reason, then for another: the second Event is counted',
    async () => {
      const run = await startRun({
        pod: { nodeSelector: { wanted: 'yes' } },
        annotations: { 'process-node.test/play': 'ImagePullBackOff' },
      })
      await api.waitFor(jobs, { name: run.job.metadata.name }, isDiagnosed('unschedulable'))
      await api.patch(nodes, { name: node.name }, { body: { metadata: { labels: { wanted: 'yes' } } } })
      await api.waitFor(jobs, { name: run.job.metadata.name }, isDiagnosed('image_pull_backoff'))
      await untilUsed('it to be counted', ({ verb, group }) => verb === 'patch' && group === 'events.k8s.io')
    },
  )

  await t.test('somebody damages the Secret with our authority', async t => {
    const reference = { namespace: NAMESPACE, name: 'prefect-lifeguard-ca' }
    await api.patch(secrets, reference, { body: { data: { 'ca.key': 'bm90aGluZw==' } } })
    const { data } = await api.waitFor(secrets, reference, {
      until: secret => secret.data['ca.key'] !== 'bm90aGluZw==',
      what: 'to be put right',
      timeoutMs: WAIT_MS,
    })
    t.ok(data['ca.key'])
  })

  await t.test('a node is cut off with a pod that was told to end', async () => {
    const run = await startRun()
    const pod = await run.runningPod()
    await node.goDown('CutOff')
    await api.remove(pods, { name: pod.metadata.name }, { gracePeriodSeconds: 1 })
    await untilUsed('the node to be asked for', ({ resource }) => resource === 'nodes')
    await node.comeBack()
  })

  await t.test('what alerts and dashboard ask for is exported', async t => {
    const { body } = await request(`http://localhost:${installation.operationsPort}/metrics`)
    const lines = (await body.text()).split('\n')
    for (const { where, expr } of queries)
      for (const { metric, matchers } of parseQuery(expr).selectors)
        t.ok(lines.some(exports(metric, matchers)), `${where}: ${metric}`)
  })

  await t.test('it stops in good order and gives the lease back', async t => {
    t.equal(await product?.stop(), 0)
    product = undefined
    const lease = await api.get(leases, { namespace: NAMESPACE, name: 'prefect-lifeguard' })
    t.match(lease, { spec: { holderIdentity: '' } })
  })

  await t.test('every request was one that a rule is there for', async t => {
    const rights = rightsOf(base)
    const all = (await uses()).filter(({ resource }) => resource !== OPEN_TO_ALL)
    t.strictSame(wordsOfAll(all.filter(use => !rights.some(right => covers(right, use)))), [])
    t.strictSame(wordsOfAll(all.filter(isRefused)), [])
  })

  await t.test('every rule was one that a request needed', async t => {
    const all = await uses()
    for (const right of rightsOf(base))
      t.ok(
        all.some(use => covers(right, use)),
        `${right.role}: ${wordsOf(right)}`,
      )
  })
})

t.test('with the rights of the namespaced overlay', async t => {
  const namespaced = await renderOurs('overlays/namespaced')
  const watched = ['flows', 'more-flows']
  for (const name of [...watched, 'elsewhere']) await api.create(namespaces, { metadata: { name } })
  await api.remove(clusterRoleBindings, { name: 'prefect-lifeguard-runs' })
  const installation = await install({ ask, controlPlane, folder }, namespaced)
  const before = (await uses()).length
  await start(installation)
  for (const namespace of watched) {
    const run = await startRun({ namespace, command: 'exit 3' })
    t.ok(isLabelled(run.parentTaskRunId)(run.job), `in ${namespace} a run is labelled`)
    await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
    await eventually(() => eventsAbout(run.job), {
      until: found => found.some(({ reason }) => reason === 'FlowRunCrashed'),
      what: 'the Event on the Job',
    })
  }
  const elsewhere = await startRun({ namespace: 'elsewhere' })
  t.equal(elsewhere.job.metadata.labels?.[PARENT], undefined, 'in other namespaces none is')
  t.equal(await product?.stop(), 0)
  product = undefined
  const since = (await uses()).slice(before)
  t.strictSame(wordsOfAll(since.filter(isRefused)), [], 'nothing was refused')
  t.strictSame(
    [...new Set(since.filter(isOfRuns).map(({ namespace }) => namespace))].toSorted(),
    watched,
    'and nothing of other namespaces asked for',
  )
})
