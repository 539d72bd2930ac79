import t from 'tap'
import { z } from 'zod'
import { clientOf } from '../admission/on-cluster.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { namespaces, pods } from '../cluster/resources.ts'
import { applyAll, isOfOperator, pathOf } from '../manifests/apply.ts'
import { only, renderOurs, renderWith } from '../manifests/render.ts'
import type { Manifest } from '../manifests/render.ts'

/** Everything that can be installed, against a real API server, which knows each field and each value. */

t.setTimeout(180_000)

const controlPlane = await startControlPlane()
const { ask, close } = clientOf(controlPlane)
t.teardown(async () => {
  await close()
  await controlPlane.stop()
})

const folder = t.testdir()

const COMPONENTS = [
  'cert-manager',
  'dashboard',
  'high-availability',
  'monitoring',
  'own-metadata-only',
  'prefect-cloud',
  'priority',
] as const

const base = await renderOurs('base')
await applyAll(ask, base)
for (const name of ['flows', 'more-flows']) await controlPlane.api.create(namespaces, { metadata: { name } })

const everything = await renderWith(folder, ...COMPONENTS)
const playground = await renderOurs('playground')
const installations: Record<string, readonly Manifest[]> = {
  base,
  'overlay development': await renderOurs('overlays/development'),
  'overlay namespaced': await renderOurs('overlays/namespaced'),
  'all components at once': everything,
}
for (const name of COMPONENTS) installations[`component ${name}`] = await renderWith(folder, name)

// What a dry run of the rest refers to.
const isReferredTo = ({ kind }: Manifest): boolean => kind === 'Namespace' || kind === 'PriorityClass'
await applyAll(ask, [...playground, ...everything].filter(isReferredTo))

t.test(
  'a second `kubectl apply -k` changes nothing, and leaves the caBundle where the replicas put it',
  async t => {
    const registration = only(base, 'MutatingWebhookConfiguration')
    const caBundle = Buffer.from('-----BEGIN CERTIFICATE-----\n').toString('base64')
    const entry = { name: 'jobs.mutate.prefect-lifeguard.dev', clientConfig: { caBundle } }
    const patched = await ask({
      method: 'PATCH',
      path: `${pathOf(registration)}?fieldManager=prefect-lifeguard`,
      body: { webhooks: [entry] },
      contentType: 'application/strategic-merge-patch+json',
    })
    // The API server checks that it is PEM.
    const kept = patched.status === 200 ? caBundle : undefined
    const before = await ask({ path: pathOf(registration) })
    await applyAll(ask, base)
    const after = await ask({ path: pathOf(registration) })
    t.equal(after.body.metadata.resourceVersion, before.body.metadata.resourceVersion)
    t.equal(kept, caBundle, 'the replicas could write it')
  },
)

for (const [name, manifests] of Object.entries({ ...installations, playground }))
  t.test(`${name} is accepted field by field`, async t => {
    const answers = await applyAll(
      ask,
      manifests.filter(manifest => !isOfOperator(manifest)),
      { dryRun: true },
    )
    t.strictSame(
      answers.flatMap(({ warnings }) => warnings),
      [],
      'without a warning',
    )
  })

const deploymentSchema = z.looseObject({
  spec: z.looseObject({ template: z.looseObject({ metadata: z.looseObject({}), spec: z.looseObject({}) }) }),
})

/** The pod of a Deployment, in our namespace, whose label has Pod Security *restricted* enforced. */
async function createPodOf(deployment: Manifest, more: object = {}) {
  const { metadata, spec } = deploymentSchema.parse(deployment).spec.template
  return ask({
    method: 'POST',
    path: '/api/v1/namespaces/prefect-lifeguard/pods?dryRun=All&fieldValidation=Strict',
    body: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, generateName: 'admitted-' },
      spec: { ...spec, ...more },
    },
  })
}

for (const [name, manifests] of Object.entries(installations))
  t.test(`the pod of ${name} is admitted under Pod Security restricted`, async t => {
    const deployment = only(manifests, 'Deployment')
    const { status, body } = await createPodOf(deployment)
    t.equal(status, 201, body.message ?? 'created')
    const asRoot = await createPodOf(deployment, { securityContext: { runAsUser: 0 } })
    t.match(
      asRoot,
      { status: 403, body: { message: /violates PodSecurity "restricted/ } },
      'as root it is not',
    )
  })

t.test('the Deployment controller makes its two pods', async t => {
  const { items } = await eventually(() => controlPlane.api.list(pods, { namespace: 'prefect-lifeguard' }), {
    until: ({ items: found }) => found.length === 2,
    what: 'two pods',
  })
  t.equal(items.length, 2)
})
