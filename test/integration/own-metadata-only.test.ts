import t from 'tap'
import { clientOf, JOBS, jobOf, PODS, podOf } from '../admission/on-cluster.ts'
import type { Answer } from '../admission/on-cluster.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { applyAll } from '../manifests/apply.ts'
import { USERNAME } from '../manifests/installation.ts'
import { renderWith } from '../manifests/render.ts'

/**
 * The component that RBAC's "patch Jobs and pods" needs a fence for, on a real API server. That everything the program
 * does passes it is seen in rbac.test.ts, which runs under it.
 */

t.setTimeout(180_000)

const controlPlane = await startControlPlane()
const { ask, close } = clientOf(controlPlane)
t.teardown(async () => {
  await close()
  await controlPlane.stop()
})

const FLOW_RUN = '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed'
const PARENT = { 'prefect.io/parent-task-run-id': '9ca9b55a-b2eb-4349-b466-b6855da64970' }
const ANOTHER = { 'prefect.io/parent-task-run-id': '11111111-b2eb-4349-b466-b6855da64970' }
const FREE = { 'prefect.io/finalizer-free': 'true' }
const DIAGNOSIS = { 'prefect-lifeguard.dev/diagnosis': '[oom_killed] ...' }

await applyAll(ask, await renderWith(t.testdir(), 'own-metadata-only'))

interface Owned {
  readonly path: string
  readonly patch: (body: object, as?: string) => Promise<Answer>
}

/** A new object of a run, with a label and an annotation of somebody else. */
async function create(collection: string, object: object): Promise<Owned> {
  const { status, body } = await ask({ method: 'POST', path: collection, body: object })
  if (status !== 201) throw new Error(`creating in ${collection} was answered ${status}: ${body.message}`)
  const path = `${collection}/${body.metadata.name}`
  const theirs = { labels: { team: 'blue' }, annotations: { note: 'theirs' } }
  await ask({ method: 'PATCH', path, body: { metadata: theirs } })
  return { path, patch: (change, as = USERNAME) => ask({ method: 'PATCH', path, body: change, as }) }
}

const createPod = (): Promise<Owned> => create(PODS, podOf(FLOW_RUN))
const createJob = (): Promise<Owned> => create(JOBS, jobOf(FLOW_RUN))

const container = { name: 'prefect-job', image: 'attacker:1' }
/** What our account must not do, to pods and to Jobs alike. */
const FORBIDDEN_METADATA: Readonly<Record<string, object>> = {
  'another label': { metadata: { labels: { team: 'red' } } },
  'a label taken away': { metadata: { labels: { team: null } } },
  'a new label': { metadata: { labels: { more: 'x' } } },
  'the run that it is of': { metadata: { labels: { 'prefect.io/flow-run-id': FLOW_RUN.replace('1', '2') } } },
  'another annotation': { metadata: { annotations: { note: 'ours' } } },
  'an annotation taken away': { metadata: { annotations: { note: null } } },
  'a finalizer': { metadata: { finalizers: ['prefect.io/held'] } },
  'an owner': {
    metadata: { ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'x', uid: FLOW_RUN }] },
  },
}
const FORBIDDEN: Readonly<Record<'pod' | 'Job', Readonly<Record<string, object>>>> = {
  pod: {
    ...FORBIDDEN_METADATA,
    'an image': { spec: { containers: [container] } },
    'a deadline': { spec: { activeDeadlineSeconds: 1 } },
    'an annotation that is for Jobs': { metadata: { annotations: DIAGNOSIS } },
  },
  Job: {
    ...FORBIDDEN_METADATA,
    parallelism: { spec: { parallelism: 5 } },
    'a deadline': { spec: { activeDeadlineSeconds: 1 } },
    backoffLimit: { spec: { backoffLimit: 100 } },
    'when it is removed': { spec: { ttlSecondsAfterFinished: 0 } },
  },
}

// Strategic, as `kubectl patch` and the program's attacker would: a merge of lists by name.
const strategic = 'application/strategic-merge-patch+json'
const tryOn = ({ path }: Owned, body: object, as: string): Promise<Answer> =>
  ask({ method: 'PATCH', path: `${path}?dryRun=All`, body, contentType: strategic, as })

const pod = await createPod()
const job = await createJob()

// A policy is in force a moment after it was made.
await eventually(() => tryOn(pod, FORBIDDEN.pod['an image'] ?? {}, USERNAME), {
  until: ({ status }) => status === 403,
  what: 'the policy to be in force',
})

for (const [kind, object] of [
  ['pod', pod],
  ['Job', job],
] as const)
  t.test(`of a ${kind} our account may not change`, async t => {
    for (const [what, change] of Object.entries(FORBIDDEN[kind])) {
      const { status, body } = await tryOn(object, change, USERNAME)
      t.equal(status, 403, what)
      t.match(body.message, /own-metadata-only.* denied request: prefect-lifeguard /, what)
      t.equal((await tryOn(object, change, 'somebody-else')).status, 200, `${what}: others may`)
    }
  })

t.test('what is ours to write passes', async t => {
  for (const object of [await createPod(), await createJob()]) {
    t.equal((await object.patch({ metadata: { labels: PARENT, annotations: FREE } })).status, 200, 'added')
    t.equal((await object.patch({ metadata: { labels: PARENT, annotations: FREE } })).status, 200, 'twice')
    t.equal((await object.patch({ metadata: { labels: ANOTHER } })).status, 403, 'never changed')
    const taken = { 'prefect.io/parent-task-run-id': null }
    t.equal((await object.patch({ metadata: { labels: taken } })).status, 403, 'never taken away')
  }
})

t.test('a Job can be annotated and suspended, and not resumed', async t => {
  const { patch } = await createJob()
  const without = { 'prefect-lifeguard.dev/diagnosis': null }
  t.equal((await patch({ metadata: { annotations: DIAGNOSIS } })).status, 200)
  t.equal((await patch({ metadata: { annotations: without } })).status, 200)
  t.equal((await patch({ spec: { suspend: true } })).status, 200)
  t.equal((await patch({ spec: { suspend: false } })).status, 403)
  t.equal((await patch({ spec: { suspend: false } }, 'somebody-else')).status, 200)
})
