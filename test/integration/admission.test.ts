import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { createCanary } from '../../src/admission/canary.ts'
import type { AdmissionOptions } from '../../src/admission/server.ts'
import type { ParentOf } from '../../src/core/parent.ts'
import {
  certificates,
  clientOf,
  configurationsPath,
  jobOf,
  JOBS,
  listen,
  podOf,
  PODS,
  registerWebhooks,
} from '../admission/on-cluster.ts'
import type { Answer } from '../admission/on-cluster.ts'
import {
  answering,
  FLOW_RUN_ID,
  hanging,
  PARENT_TASK_RUN_ID,
  refusing,
  serverOf,
  subflow,
} from '../admission/server-of.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'

const PARENT = 'prefect.io/parent-task-run-id'
const FINALIZER_FREE = 'prefect.io/finalizer-free'
const OURSELVES = 'system:serviceaccount:prefect-lifeguard:prefect-lifeguard'

const auditDir = t.testdir({
  'policy.yaml': 'apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{ level: Metadata }]\n',
})
const auditLog = join(auditDir, 'audit.log')
await writeFile(auditLog, '')
const plane = await startControlPlane({
  apiserverFlags: [`--audit-policy-file=${join(auditDir, 'policy.yaml')}`, `--audit-log-path=${auditLog}`],
})
const { ask, close } = clientOf(plane)
t.teardown(async () => {
  await close()
  await plane.stop()
})

const { authority, leaf } = await certificates()

/** Registers a server of this test's own, and takes it away again. Resolves when the apiserver calls it. */
async function serving(t: Test, options: Partial<AdmissionOptions>) {
  let parentOf: ParentOf = subflow
  const { server, registry } = serverOf({
    tls: leaf,
    validation: 'warn',
    lookupDeadlineMs: 300,
    ...options,
    parentOf: (id, signal) => parentOf(id, signal),
  })
  await registerWebhooks(ask, { port: await listen(server), caBundle: authority.cert })
  t.teardown(async () => {
    for (const kind of ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration']) {
      await ask({ method: 'DELETE', path: `${configurationsPath(kind)}/prefect-lifeguard` })
    }
    await server.close()
  })
  // The mutating webhook sees the first, the validating one the second.
  const labelled = podOf(FLOW_RUN_ID, {
    labels: { 'prefect.io/flow-run-id': FLOW_RUN_ID, [PARENT]: 'no-uuid' },
  })
  const isServed = { until: (served: boolean) => served, what: 'the apiserver to call the webhooks' }
  await eventually(
    async () => parentIn(await create(podOf(FLOW_RUN_ID), '?dryRun=All')) !== undefined,
    isServed,
  )
  if (options.validation !== 'off') {
    await eventually(async () => isObjectedTo(await create(labelled, '?dryRun=All')), isServed)
  }
  const prefect = (next: ParentOf) => void (parentOf = next)
  prefect(options.parentOf ?? subflow)
  registry.resetMetrics()
  return { server, registry, prefect, requests: () => requestsIn(registry) }
}

async function requestsIn(
  registry: ReturnType<typeof serverOf>['registry'],
): Promise<Record<string, number>> {
  const metric = await registry.getSingleMetric('controller_runtime_webhook_requests_total')?.get()
  return Object.fromEntries((metric?.values ?? []).map(({ labels, value }) => [labels['webhook'], value]))
}

const create = (object: object, query = ''): Promise<Answer> =>
  ask({
    method: 'POST',
    path: ('spec' in object && JSON.stringify(object).includes('batch/v1') ? JOBS : PODS) + query,
    body: object,
  })

const parentIn = ({ body }: Answer): string | undefined => body.metadata.labels?.[PARENT]
const isObjectedTo = ({ status, warnings }: Answer): boolean => status === 403 || warnings.length > 0

t.test('a subflow run’s Job is labelled, and so is its pod, without a call for the pod', async t => {
  const { requests } = await serving(t, { validation: 'off' })
  const job = await create(jobOf(FLOW_RUN_ID))
  t.equal(job.status, 201)
  for (const { labels, annotations } of [job.body.metadata, job.body.spec.template.metadata]) {
    t.match(labels, { [PARENT]: PARENT_TASK_RUN_ID, 'prefect.io/flow-run-id': FLOW_RUN_ID })
    t.match(annotations, { [FINALIZER_FREE]: 'true' })
  }
  const selector = encodeURIComponent(`batch.kubernetes.io/job-name=${job.body.metadata.name}`)
  const pods = await eventually(() => ask({ path: `${PODS}?labelSelector=${selector}` }), {
    until: ({ body }) => body.items.length > 0,
    what: 'the Job controller to make a pod',
  })
  t.match(pods.body.items, [
    { metadata: { labels: { [PARENT]: PARENT_TASK_RUN_ID }, annotations: { [FINALIZER_FREE]: 'true' } } },
  ])
  t.equal((await requests())['/mutate'], 1)
})

t.test('pods without a Job are labelled, in dry runs too', async t => {
  await serving(t, {})
  for (const query of ['', '?dryRun=All']) {
    const { status, body, warnings } = await create(podOf(FLOW_RUN_ID), query)
    t.equal(status, 201)
    t.match(body.metadata, {
      labels: { [PARENT]: PARENT_TASK_RUN_ID },
      annotations: { [FINALIZER_FREE]: 'true' },
    })
    t.strictSame(warnings, [], 'and nobody objects to what we did ourselves')
  }
})

t.test('a top-level run’s Job and pod stay as they are', async t => {
  const { prefect } = await serving(t, { validation: 'enforce' })
  prefect(answering({ kind: 'topLevel' }))
  for (const object of [jobOf(FLOW_RUN_ID), podOf(FLOW_RUN_ID)]) {
    const answer = await create(object)
    t.equal(answer.status, 201)
    t.equal(parentIn(answer), undefined)
    t.equal(answer.body.metadata.annotations?.[FINALIZER_FREE], undefined)
    t.strictSame(answer.warnings, [])
  }
})

t.test('what has nothing to do with Prefect is never sent to us', async t => {
  const { requests } = await serving(t, { validation: 'enforce' })
  t.equal((await create(podOf(FLOW_RUN_ID, { labels: {} }))).status, 201)
  const inOurs = {
    method: 'POST',
    path: '/api/v1/namespaces/kube-system/pods',
    body: podOf(FLOW_RUN_ID),
  } as const
  t.equal((await ask(inOurs)).status, 201)
  t.strictSame(await requests(), {})
})

const outages: Record<string, { parentOf: ParentOf; warning: RegExp; outcome: string }> = {
  hanging: { parentOf: hanging, warning: /did not answer within 300 ms/, outcome: 'lookup_late' },
  refusing: { parentOf: refusing, warning: /could not ask Prefect/, outcome: 'lookup_failed' },
}

for (const [name, { parentOf, warning, outcome }] of Object.entries(outages)) {
  t.test(
    `with Prefect ${name}, Jobs and pods are created, unlabelled, with a warning and an audit annotation`,
    async t => {
      const { prefect, requests } = await serving(t, { validation: 'enforce' })
      prefect(parentOf)
      for (const object of [jobOf(FLOW_RUN_ID), podOf(FLOW_RUN_ID)]) {
        const answer = await create(object)
        t.equal(answer.status, 201)
        t.equal(parentIn(answer), undefined)
        t.match(answer.warnings, [warning])
      }
      // Quickly, that is by our own deadline: the apiserver got an answer each time and did not have to give up on us.
      await eventually(requests, {
        until: counts => counts['/mutate'] === 3,
        what: 'Job, its pod and the pod to be asked about',
      })
      const annotation = `"pods.mutate.prefect-lifeguard.dev/outcome":"${outcome}"`
      await eventually(() => readFile(auditLog, 'utf8'), {
        until: log => log.includes(annotation),
        what: `the audit log to hold ${annotation}`,
      })
    },
  )
}

t.test('with ourselves gone, Jobs and pods are created', async t => {
  const { server } = await serving(t, { validation: 'enforce' })
  await server.close()
  for (const object of [jobOf(FLOW_RUN_ID), podOf(FLOW_RUN_ID)]) {
    const answer = await create(object)
    t.equal(answer.status, 201)
    t.equal(parentIn(answer), undefined)
  }
})

const LIE = '33333333-3333-4333-8333-333333333333'
const spoofed = podOf(FLOW_RUN_ID, { labels: { 'prefect.io/flow-run-id': FLOW_RUN_ID, [PARENT]: LIE } })
const held = podOf(FLOW_RUN_ID, { finalizers: ['prefect.io/hold'] })
const orphan = podOf(FLOW_RUN_ID, { labels: { [PARENT]: LIE } })

const label = (value: string | null) => ({ metadata: { labels: { [PARENT]: value } } })

for (const validation of ['warn', 'enforce'] as const) {
  t.test(`spoofing, validation ${validation}`, async t => {
    await serving(t, { validation })
    const judged = ({ status, body, warnings }: Answer, what: string, message: RegExp) => {
      t.equal(status === 403, validation === 'enforce', what)
      t.match(validation === 'enforce' ? [body.message] : warnings, [message], what)
    }
    judged(
      await create(spoofed),
      'another parent',
      new RegExp(`is ${LIE}, but in Prefect it is ${PARENT_TASK_RUN_ID}`),
    )
    judged(await create(orphan), 'a parent without a run', /it belongs to no flow run/)
    judged(await create(held), 'a finalizer', /holds up the deletion/)

    const { body } = await create(podOf(FLOW_RUN_ID))
    const path = `${PODS}/${body.metadata.name}`
    const patch = (body: object, as = 'jane') => ask({ method: 'PATCH', path, body, as })
    judged(await patch(label(LIE)), 'a changed label', /goes from .* by \\?"jane\\?": leave it/)
    await patch(label(PARENT_TASK_RUN_ID), OURSELVES)
    judged(await patch(label(null)), 'a removed label', /to absent by \\?"jane/)
    await patch(label(PARENT_TASK_RUN_ID), OURSELVES)
    judged(
      await patch({ metadata: { annotations: { [FINALIZER_FREE]: null } } }),
      'annotation',
      /annotation .* leave it/,
    )
    judged(
      await patch({ metadata: { finalizers: ['prefect.io/hold'] } }),
      'a later finalizer',
      /holds up the deletion/,
    )

    for (const body of [label(LIE), label(null), label(PARENT_TASK_RUN_ID)]) {
      const answer = await patch(body, OURSELVES)
      t.equal(answer.status, 200, 'our own service account may')
      t.strictSame(answer.warnings, [])
    }
    await patch({ metadata: { finalizers: null } })
    t.equal((await ask({ method: 'DELETE', path })).status, 200, 'and nothing holds up the deletion')
  })
}

t.test('only what touches labels, annotations or finalizers is looked at', async t => {
  const { requests } = await serving(t, { validation: 'enforce' })
  const { body } = await create(podOf(FLOW_RUN_ID))
  const path = `${PODS}/${body.metadata.name}`
  const before = await requests()
  t.equal((await ask({ method: 'PATCH', path, body: { spec: { activeDeadlineSeconds: 600 } } })).status, 200)
  const debug = { spec: { ephemeralContainers: [{ name: 'debug', image: 'busybox' }] } }
  const contentType = 'application/strategic-merge-patch+json'
  t.equal(
    (await ask({ method: 'PATCH', path: `${path}/ephemeralcontainers`, body: debug, contentType })).status,
    200,
  )
  t.equal(
    (await ask({ method: 'PATCH', path: `${path}/status`, body: { status: { message: 'x' } } })).status,
    200,
  )
  t.strictSame(await requests(), before)
  const colour = { metadata: { labels: { colour: 'blue' } } }
  t.equal((await ask({ method: 'PATCH', path, body: colour, as: 'jane' })).status, 200)
  t.equal((await requests())['/validate'], (before['/validate'] ?? 0) + 1)
})

t.test('the canary comes back through the apiserver, and tells when it does not', async t => {
  const { server } = await serving(t, { validation: 'off' })
  const leases = '/apis/coordination.k8s.io/v1/namespaces/prefect-lifeguard/leases'
  const canary = createCanary({
    namespace: 'prefect-lifeguard',
    nonce: () => `n${Date.now()}`,
    dryRunCreate: async body => (await ask({ method: 'POST', path: `${leases}?dryRun=All`, body })).body,
  })
  await t.resolves(canary(AbortSignal.timeout(10_000)))
  await server.close()
  await t.rejects(canary(AbortSignal.timeout(10_000)), { message: /did not call our webhook/ })
  t.strictSame((await ask({ path: leases })).body.items, [], 'nothing was stored')
})

t.test('a Job that has its label everywhere is not sent for mutation', async t => {
  const { requests } = await serving(t, { validation: 'off' })
  const labels = { 'prefect.io/flow-run-id': FLOW_RUN_ID, [PARENT]: PARENT_TASK_RUN_ID }
  const job = JSON.parse(JSON.stringify(jobOf(FLOW_RUN_ID)), (key, value: unknown) =>
    key === 'labels' ? labels : value,
  ) as object
  t.equal((await create(job)).status, 201)
  t.equal((await requests())['/mutate'], undefined)
})
