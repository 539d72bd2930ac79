import t from 'tap'

import { FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL } from '../../src/core/names.ts'
import type { Job } from '../../src/core/objects.ts'
import { createAccess } from '../../src/kubernetes/http/access.ts'
import { createKubernetesApi } from '../../src/kubernetes/api.ts'
import { createEventRecorder, type NewEvent } from '../../src/kubernetes/event-recorder.ts'
import { isRecord } from '../../src/kubernetes/parse/fields.ts'
import { createObjects } from '../../src/kubernetes/objects.ts'
import { EVENTS, MUTATING_WEBHOOKS, SECRETS } from '../../src/kubernetes/paths.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import { jobs, namespaces, pods } from '../cluster/resources.ts'
import { adminConfig, suspendedJob } from '../kubernetes/on-cluster.ts'

const plane = await startControlPlane()
const { api } = plane
const node = await startProcessNode({ cluster: plane })
const access = createAccess({ kubeConfig: adminConfig(plane) })
const kubernetes = createKubernetesApi({ access })
t.teardown(async () => {
  await access.close()
  await node.stop()
  await plane.stop()
})

const signal = AbortSignal.timeout(120_000)
const other = '11111111-1111-4111-8111-111111111111'
const runIds = Array.from({ length: 9 }, (_, index) => `0190a000-0000-7000-8000-00000000000${index}`)
const nextRunId = (): string => runIds.pop() ?? t.fail('out of ids').toString()

const named = (name: string, labels: object): { name: string; labels: object } => ({ name, labels })

interface Seen {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

async function createJob(name: string, labels: Record<string, string> = {}): Promise<Seen> {
  const { metadata } = await api.create(jobs, suspendedJob({ name, labels }))
  return { namespace: 'default', name, uid: metadata.uid }
}

const readJob = async (seen: Seen): Promise<Job> =>
  (await kubernetes.job(seen, signal)) ?? (t.fail(`no ${seen.name}`) as never)

t.test('the Jobs and pods of a run are found in every namespace, or in those that are named', async t => {
  const run = nextRunId()
  await api.create(namespaces, { metadata: { name: 'elsewhere' } })
  const labels = { [FLOW_RUN_ID_LABEL]: run }
  await createJob('here', labels)
  await api.create(jobs, suspendedJob({ name: 'there', namespace: 'elsewhere', labels }))
  await api.create(pods, {
    metadata: named('alone', labels),
    spec: { containers: [{ name: 'main', image: 'none', command: ['sh', '-c', 'sleep 60'] }] },
  })
  const namesIn = async (...names: string[]): Promise<string[]> => {
    const { jobsOf } = createKubernetesApi({ access, namespaces: names })
    return (await jobsOf(run, signal)).map(({ metadata: { name } }) => name).toSorted()
  }
  t.strictSame(await namesIn(), ['here', 'there'])
  t.strictSame(await namesIn('elsewhere'), ['there'])
  t.strictSame(await namesIn('elsewhere', 'default'), ['here', 'there'])
  t.strictSame(
    (await kubernetes.podsOf(run, signal)).map(({ metadata: { name } }) => name),
    ['alone'],
  )
  t.strictSame(await kubernetes.jobsOf(other, signal), [])
  const [ofRun, ofOther] = await Promise.all([run, other].map(id => kubernetes.jobsOf(id, signal)))
  t.strictSame(
    ofRun?.map(({ metadata: { name } }) => name).toSorted(),
    ['here', 'there'],
    'asked for beside another run, too',
  )
  t.strictSame(ofOther, [])
  await t.rejects(kubernetes.jobsOf(`${run},x!=y`, signal), { name: 'TypeError' })
})

t.test('what does not exist is an answer; what could not be asked is not', async t => {
  const nowhere = { namespace: 'default', name: 'nowhere' }
  t.equal(await kubernetes.job(nowhere, signal), undefined)
  t.equal(await kubernetes.pod(nowhere, signal), undefined)
  const found = await kubernetes.nodes(['process-node', 'gone', 'gone'], signal)
  t.equal(found.size, 2)
  t.equal(found.get('gone'), undefined)
  const down = createAccess({ kubeConfig: adminConfig(plane, 'https://127.0.0.1:1') })
  await t.rejects(
    createObjects(down).read({ resource: SECRETS, ...nowhere }, json => json, AbortSignal.timeout(500)),
  )
  await down.close()
})

t.test('annotations of ours are set as a whole, on that Job and no other', async t => {
  const job = await createJob('annotated')
  await api.patch(jobs, job, { body: { metadata: { annotations: { 'somebody.else/x': 'y' } } } })
  const annotate = async (annotations: Record<string, string>, uid = job.uid): Promise<string> =>
    kubernetes.annotateJob({ ...job, uid }, annotations, signal)
  t.equal(await annotate({ 'prefect-lifeguard.dev/a': '1', 'prefect-lifeguard.dev/b': '1' }), 'applied')
  t.equal(await annotate({ 'prefect-lifeguard.dev/a': '2' }), 'applied')
  t.strictSame(
    (await readJob(job)).metadata.annotations,
    { 'prefect-lifeguard.dev/a': '2' },
    'what is left out goes',
  )
  t.match(
    await api.get(jobs, job),
    { metadata: { annotations: { 'somebody.else/x': 'y' } } },
    'and what is not ours stays',
  )
  t.equal(await annotate({ 'prefect-lifeguard.dev/a': '3' }, other), 'gone', 'another Job by that name')
  t.equal(
    await kubernetes.annotateJob({ ...job, name: 'nowhere' }, { 'prefect-lifeguard.dev/a': '3' }, signal),
    'gone',
  )
  await api.patch(jobs, job, {
    body: { metadata: { annotations: { 'prefect-lifeguard.dev/a': 'a person’s' } } },
  })
  t.equal(await annotate({ 'prefect-lifeguard.dev/a': '4' }), 'conflict', 'a person’s word stands')
  t.equal((await readJob(job)).metadata.annotations['prefect-lifeguard.dev/a'], 'a person’s')
  await t.rejects(annotate({ 'prefect.io/finalizer-free': 'true' }), { name: 'TypeError' })
})

t.test('labels are only ever added, and only to what has not changed since it was read', async t => {
  const job = await createJob('backfilled', { app: 'etl' })
  const { metadata } = await eventually(() => readJob(job), {
    until: ({ status }) => status.conditions.length > 0,
    what: 'the Job to settle',
  })
  const additions = {
    labels: { [PARENT_TASK_RUN_ID_LABEL]: other, app: 'other' },
    annotations: { 'prefect.io/finalizer-free': 'true' },
  }
  t.equal(await kubernetes.addToJob(metadata, additions, signal), 'applied')
  const after = await readJob(job)
  t.match(after.metadata, {
    labels: { [PARENT_TASK_RUN_ID_LABEL]: other, app: 'etl' },
    annotations: additions.annotations,
  })
  t.equal(await kubernetes.addToJob(after.metadata, additions, signal), 'unchanged')
  t.equal(await kubernetes.addToJob(metadata, additions, signal), 'conflict', 'it has changed since')
  t.equal(await kubernetes.addToPod({ ...metadata, name: 'nowhere' }, additions, signal), 'gone')
})

t.test('a Job is suspended if it is still the same', async t => {
  const run = nextRunId()
  await api.create(jobs, {
    metadata: named('busy', { [FLOW_RUN_ID_LABEL]: run }),
    spec: {
      template: {
        metadata: { labels: { [FLOW_RUN_ID_LABEL]: run } },
        spec: {
          restartPolicy: 'Never',
          containers: [
            { name: 'main', image: 'none', command: ['sh', '-c', 'echo one; echo two; sleep 600'] },
          ],
        },
      },
    },
  })
  const [job] = await kubernetes.jobsOf(run, signal)
  const seen = { namespace: 'default', name: 'busy', uid: job?.metadata.uid ?? '' }
  const [pod] = await eventually(() => kubernetes.podsOf(run, signal), {
    until: found => found[0]?.status.phase === 'Running',
    what: 'the pod',
  })
  const tail = {
    namespace: 'default',
    pod: pod?.metadata.name ?? '',
    container: 'main',
    lines: 10,
    bytes: 1000,
  }
  const log = await eventually(() => kubernetes.podLogTail(tail, signal), {
    until: text => text?.includes('two') === true,
    what: 'the log',
  })
  t.equal(log, 'one\ntwo\n')
  t.equal(await kubernetes.podLogTail({ ...tail, lines: 1 }, signal), 'two\n')
  t.equal(await kubernetes.podLogTail({ ...tail, bytes: 6 }, signal), 'two\n', 'whole lines from the end')
  t.equal(await kubernetes.podLogTail({ ...tail, bytes: 3 }, signal), 'wo\n')
  t.equal(await kubernetes.podLogTail({ ...tail, pod: 'nowhere' }, signal), undefined)
  t.equal(
    await kubernetes.podLogTail({ ...tail, previous: true }, signal),
    undefined,
    'it has had no life before',
  )

  t.equal(await kubernetes.suspendJob({ ...seen, uid: other }, signal), 'gone')
  t.equal(await kubernetes.suspendJob(seen, signal), 'applied')
  await eventually(() => kubernetes.podsOf(run, signal), {
    until: ({ length }) => length === 0,
    what: 'the pods to end',
    timeoutMs: 60_000,
  })
  t.equal(await kubernetes.suspendJob({ ...seen, name: 'nowhere' }, signal), 'gone')
  const told = await kubernetes.eventsOf('default', [seen.uid, seen.uid], signal)
  t.ok(told.some(({ reason, regarding }) => reason === 'SuccessfulCreate' && regarding.name === 'busy'))
  t.equal(told.length, new Set(told.map(event => JSON.stringify(event))).size, 'each once')
})

t.test('what is said again within minutes is one Event with a count', async t => {
  const job = await createJob('talked-about')
  const recorder = createEventRecorder({ access, controller: 'prefect-lifeguard', instance: 'replica-1' })
  const event: NewEvent = {
    regarding: { apiVersion: 'batch/v1', kind: 'Job', ...job },
    type: 'Warning',
    reason: 'FlowRunCrashed',
    action: 'Crashed',
    note: `[oom_killed] ${'ü'.repeat(2000)}`,
  }
  t.equal(await recorder.record(event, signal), 'created')
  t.equal(await recorder.record(event, signal), 'repeated')
  t.equal(await recorder.record(event, signal), 'repeated')
  t.equal(await recorder.record({ ...event, reason: 'Reported' }, signal), 'created')
  const all = await kubernetes.eventsOf('default', [job.uid], signal)
  const told = all.filter(({ reason }) => reason !== 'Suspended')
  t.strictSame(told.map(({ reason, count }) => `${reason} ${count}`).toSorted(), [
    'FlowRunCrashed 3',
    'Reported 1',
  ])
  t.match(
    told.find(({ count }) => count === 3)?.message,
    /^\[oom_killed\] ü+\.\.\.$/,
    'cut to what the API takes, between two characters',
  )

  const objects = createObjects(access)
  const { items } = await access.request({
    method: 'GET',
    path: '/apis/events.k8s.io/v1/namespaces/default/events',
    signal,
    parse: json =>
      isRecord(json)
        ? { items: json['items'] as { metadata: { name: string }; regarding: { uid: string } }[] }
        : { items: [] },
  })
  for (const { metadata, regarding } of items) {
    if (regarding.uid === job.uid)
      await objects.remove({ resource: EVENTS, namespace: 'default', name: metadata.name }, signal)
  }
  t.equal(await recorder.record(event, signal), 'created', 'one that etcd has forgotten is written anew')
})

t.test('single objects: made once, replaced only as they were read, removed once', async t => {
  const objects = createObjects(access)
  const at = { resource: SECRETS, namespace: 'default', name: 'ours' }
  const body = { metadata: { name: 'ours' }, stringData: { a: '1' } }
  t.equal(await objects.create(at, body, signal), true)
  t.equal(await objects.create(at, body, signal), false)
  const secret = await objects.read(at, json => json as object, signal)
  t.equal(await objects.replace(at, { ...secret, stringData: { a: '2' } }, signal), true)
  t.equal(await objects.replace(at, { ...secret, stringData: { a: '3' } }, signal), false, 'changed since')
  t.equal(await objects.remove(at, signal), true)
  t.equal(await objects.remove(at, signal), false)
  t.equal(await objects.replace(at, { ...secret }, signal), false, 'gone')
  await t.rejects(objects.create(at, { metadata: { name: 'NOT A NAME' } }, signal), {
    message: /422 Invalid/,
  })
})

const manifest = (timeoutSeconds: number) =>
  ({
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: 'ours' },
    webhooks: [
      {
        name: 'pods.prefect-lifeguard.dev',
        clientConfig: { url: 'https://127.0.0.1:1/mutate' },
        rules: [
          {
            apiGroups: ['nowhere.example'],
            apiVersions: ['v1'],
            operations: ['CREATE'],
            resources: ['things'],
          },
        ],
        failurePolicy: 'Ignore',
        sideEffects: 'None',
        admissionReviewVersions: ['v1'],
        timeoutSeconds,
      },
    ],
  }) as const

t.test('a webhook configuration is applied, taken back from others, and deleted', async t => {
  const timeout = async (): Promise<unknown> =>
    createObjects(access).read(
      { resource: MUTATING_WEBHOOKS, name: 'ours' },
      json => (json as { webhooks: { timeoutSeconds: number }[] }).webhooks[0]?.timeoutSeconds,
      signal,
    )
  t.equal(await kubernetes.applyWebhookConfiguration(manifest(2), signal), 'applied')
  t.equal(await timeout(), 2)
  const body = { webhooks: [{ name: 'pods.prefect-lifeguard.dev', timeoutSeconds: 9 }] }
  await createObjects(access).patch(
    { resource: MUTATING_WEBHOOKS, name: 'ours' },
    { type: 'strategic', body },
    signal,
  )
  t.equal(await timeout(), 9)
  t.equal(await kubernetes.applyWebhookConfiguration(manifest(2), signal), 'applied')
  t.equal(await timeout(), 2)
  t.equal(await kubernetes.deleteWebhookConfiguration('MutatingWebhookConfiguration', 'ours', signal), true)
  t.equal(await kubernetes.deleteWebhookConfiguration('MutatingWebhookConfiguration', 'ours', signal), false)
  t.equal(
    await kubernetes.deleteWebhookConfiguration('ValidatingWebhookConfiguration', 'ours', signal),
    false,
  )
})
