import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { parseAllDocuments, stringify } from 'yaml'
import { z } from 'zod'
import { HANDLE_FAILURE, NAMESPACES, VARIABLES } from '../../src/config/variables.ts'
import { readConfig } from '../../src/config.ts'
import { isOfOperator } from './apply.ts'
import { rightsOf, wordsOf } from './audit.ts'
import { environmentOf } from './installation.ts'
import { MANIFESTS, only, render, renderOurs, renderWith } from './render.ts'

/** Places that have to say the same, and that neither the API server nor kustomize compares. */

// Where there is no kubectl, kustomize is built first.
t.setTimeout(600_000)

const folder = t.testdir()

const base = await renderOurs('base')
const development = await renderOurs('overlays/development')
const namespaced = await renderOurs('overlays/namespaced')
const certManager = await renderWith(folder, 'cert-manager')
const prefectCloud = await renderWith(folder, 'prefect-cloud')
const monitoring = await renderWith(folder, 'monitoring')

const LABELS = { 'app.kubernetes.io/name': 'prefect-lifeguard', 'app.kubernetes.io/component': 'server' }

for (const [name, manifests] of Object.entries({ base, development, namespaced, certManager, prefectCloud }))
  t.test(`${name}: the program accepts its environment`, async t => {
    const env = environmentOf(manifests)
    t.strictSame(
      Object.keys(env).filter(variable => !Object.hasOwn(VARIABLES, variable)),
      [],
      'every variable is one of ours',
    )
    const config = readConfig(env)
    t.match(config, { namespace: 'prefect-lifeguard', service: only(manifests, 'Service').metadata.name })
    t.equal(config.service, only(manifests, 'ServiceAccount').metadata.name)
  })

t.test('the base changes no state until somebody asks for it', async t => {
  t.equal(environmentOf(base)[HANDLE_FAILURE], '')
  t.equal(readConfig(environmentOf(base)).verdict.failureState, 'report')
})

t.test('no name got a hash that should not have one', async t => {
  const hashed = base.flatMap(
    manifest => JSON.stringify(manifest).match(/"prefect-lifeguard-[a-z0-9]{10}"/g) ?? [],
  )
  t.strictSame(hashed, [])
})

const podSchema = z.looseObject({
  spec: z.looseObject({
    selector: z.object({ matchLabels: z.record(z.string(), z.string()) }),
    template: z.looseObject({
      metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }),
      spec: z.looseObject({
        terminationGracePeriodSeconds: z.number(),
        topologySpreadConstraints: z.array(
          z.looseObject({ labelSelector: z.object({ matchLabels: z.record(z.string(), z.string()) }) }),
        ),
      }),
    }),
  }),
})

t.test('what selects our pods selects them', async t => {
  const { spec } = podSchema.parse(only(base, 'Deployment'))
  t.strictSame(spec.template.metadata.labels, LABELS)
  t.strictSame(spec.selector.matchLabels, LABELS)
  for (const { labelSelector } of spec.template.spec.topologySpreadConstraints)
    t.strictSame(labelSelector.matchLabels, LABELS)
  t.match(only(base, 'Service'), { spec: { selector: LABELS } })
  t.match(only(base, 'PodDisruptionBudget'), { spec: { selector: { matchLabels: LABELS } } })
  t.match(only(base, 'NetworkPolicy'), {
    spec: { podSelector: { matchLabels: { 'app.kubernetes.io/name': 'prefect-lifeguard' } } },
  })
})

t.test('there is time to stop in good order', async t => {
  const { terminationGracePeriodSeconds } = podSchema.parse(only(base, 'Deployment')).spec.template.spec
  const { drain } = readConfig(environmentOf(base)).admission
  t.ok(
    terminationGracePeriodSeconds * 1000 >= 3 * drain,
    'to serve on, and twice as much to end what is under way',
  )
})

t.test('nothing that is installed has a finalizer', async t => {
  const all = [base, development, namespaced, certManager, monitoring].flat()
  t.strictSame(
    all.filter(({ metadata }) => 'finalizers' in metadata),
    [],
  )
})

const selectorSchema = z.object({
  webhooks: z.array(
    z.object({
      name: z.string(),
      namespaceSelector: z.object({
        matchExpressions: z.array(
          z.object({ key: z.string(), operator: z.string(), values: z.array(z.string()) }),
        ),
      }),
    }),
  ),
})

t.test('namespaced: settings, bindings and webhooks name the same namespaces', async t => {
  const watched = readConfig(environmentOf(namespaced)).namespaces
  t.strictSame(watched, ['flows', 'more-flows'])
  const bindings = namespaced.filter(
    ({ kind, metadata }) => kind === 'RoleBinding' && metadata.name === 'prefect-lifeguard-runs',
  )
  t.strictSame(
    bindings.map(({ metadata }) => metadata.namespace),
    watched,
  )
  const registrations = namespaced.filter(({ kind }) => kind.endsWith('WebhookConfiguration'))
  const webhooks = registrations.flatMap(registration => selectorSchema.parse(registration).webhooks)
  for (const { name, namespaceSelector } of webhooks) {
    const isIn = namespaceSelector.matchExpressions.filter(({ operator }) => operator === 'In')
    const expected = name.startsWith('canary.') ? [['prefect-lifeguard']] : [watched]
    t.strictSame(
      isIn.map(({ values }) => values),
      expected,
      name,
    )
  }
  t.notOk(
    namespaced.some(
      ({ kind, metadata }) => kind === 'ClusterRoleBinding' && metadata.name === 'prefect-lifeguard-runs',
    ),
    'and the whole cluster is not bound',
  )
  t.match(environmentOf(namespaced), { [NAMESPACES]: watched.join(',') })
})

const issuerReference = z.strictObject({ kind: z.literal('Issuer'), name: z.string() })
/** cert-manager.io/v1, as far as we use it. */
const certManagerSchema = z.discriminatedUnion('kind', [
  z.looseObject({
    kind: z.literal('Issuer'),
    spec: z.union([
      z.strictObject({ selfSigned: z.strictObject({}) }),
      z.strictObject({ ca: z.strictObject({ secretName: z.string() }) }),
    ]),
  }),
  z.looseObject({
    kind: z.literal('Certificate'),
    metadata: z.looseObject({ name: z.string() }),
    spec: z.strictObject({
      secretName: z.string(),
      isCA: z.boolean().optional(),
      commonName: z.string().optional(),
      dnsNames: z.array(z.string()).optional(),
      duration: z.string().regex(/^\d+h$/),
      renewBefore: z
        .string()
        .regex(/^\d+h$/)
        .optional(),
      privateKey: z.strictObject({
        algorithm: z.enum(['RSA', 'ECDSA', 'Ed25519']),
        size: z.number(),
        rotationPolicy: z.enum(['Never', 'Always']).optional(),
      }),
      usages: z.array(z.enum(['digital signature', 'server auth'])).optional(),
      issuerRef: issuerReference,
    }),
  }),
])

t.test('cert-manager: certificate, mount, setting and injection fit together', async t => {
  const objects = certManager.filter(isOfOperator).map(object => certManagerSchema.parse(object))
  const leaf = objects.find(object => object.kind === 'Certificate' && !object.spec.isCA)
  if (leaf?.kind !== 'Certificate') throw new Error('there is no certificate')
  t.ok(
    leaf.spec.dnsNames?.includes('prefect-lifeguard.prefect-lifeguard.svc'),
    'what the API server asks for',
  )
  const dir = readConfig(environmentOf(certManager)).admission.certificateDir
  const pod = {
    volumes: [{ name: 'certificates', secret: { secretName: leaf.spec.secretName } }],
    containers: [{ volumeMounts: [{ name: 'certificates', mountPath: dir, readOnly: true }] }],
  }
  t.match(only(certManager, 'Deployment'), { spec: { template: { spec: pod } } })
  for (const kind of ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration'])
    t.strictSame(only(certManager, kind).metadata.annotations, {
      'cert-manager.io/inject-ca-from': `prefect-lifeguard/${leaf.metadata.name}`,
    })
  const rights = rightsOf(certManager).filter(({ resource }) => /secrets|webhook/.test(resource))
  t.strictSame(rights.map(wordsOf), [], 'the rights to do it ourselves are gone')
  const bound = certManager.filter(({ metadata }) => metadata.name === 'prefect-lifeguard-certificates')
  t.strictSame(bound, [], 'and their bindings')
})

t.test('prefect-cloud: no pod without the key', async t => {
  const envFrom = [
    { configMapRef: { name: /^prefect-lifeguard-settings-/ } },
    { secretRef: { name: 'prefect-lifeguard-credentials', optional: false } },
  ]
  t.match(only(prefectCloud, 'Deployment'), { spec: { template: { spec: { containers: [{ envFrom }] } } } })
  t.notOk(
    prefectCloud.some(({ kind }) => kind === 'Secret'),
    'and no key in a file',
  )
})

const monitorSchema = z.object({
  spec: z.strictObject({
    selector: z.strictObject({ matchLabels: z.record(z.string(), z.string()) }),
    endpoints: z.array(z.strictObject({ port: z.string(), path: z.string(), interval: z.string() })),
  }),
})

t.test('monitoring: the monitor finds our Service', async t => {
  const { selector, endpoints } = monitorSchema.parse(only(monitoring, 'ServiceMonitor')).spec
  const service = only(monitoring, 'Service')
  t.match(service.metadata.labels, selector.matchLabels)
  for (const { port } of endpoints) t.match(service, { spec: { ports: new Set([{ name: port }]) } })
})

const installation = await readFile(new URL('../../docs/install.md', import.meta.url), 'utf8')
const documented = [...installation.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml = '']) => yaml)

t.test('every kustomization of the documentation can be rendered', async t => {
  const kustomizations = documented.filter(yaml => yaml.includes('kind: Kustomization'))
  t.not(kustomizations.length, 0)
  for (const [index, yaml] of kustomizations.entries()) {
    // As on a reader's disk: beside the checkout.
    const here = join(folder, `documented-${index}`)
    await mkdir(here, { recursive: true })
    const checkout = relative(here, fileURLToPath(new URL('../../', import.meta.url)))
    const [document] = parseAllDocuments(yaml.replaceAll('../prefect-lifeguard/', `${checkout}/`))
    await writeFile(join(here, 'kustomization.yaml'), String(document))
    const rendered = await render(here)
    t.doesNotThrow(() => readConfig(environmentOf(rendered)), 'and the program accepts its settings')
    t.match(only(rendered, 'Deployment'), {
      spec: {
        template: { spec: { containers: [{ image: /^registry\.example\.com\/prefect-lifeguard:/ }] } },
      },
    })
  }
})

const rulesSchema = z.object({
  spec: z.object({
    groups: z.array(
      z.object({ rules: z.array(z.object({ annotations: z.object({ runbook_url: z.string() }) })) }),
    ),
  }),
})

t.test(
  'with the lines of the documentation every alert links to its runbook, by an address said once',
  async t => {
    const [lines = '', ...others] = documented.filter(yaml => yaml.includes('runbook_url'))
    t.strictSame(others, [])
    const [, address = ''] = /docs=(\S+)\]/.exec(lines) ?? []
    const here = join(folder, 'runbooks')
    await mkdir(here, { recursive: true })
    const path = (to: string): string => relative(here, fileURLToPath(new URL(to, MANIFESTS)))
    const own = { resources: [path('base')], components: [path('components/monitoring')] }
    await writeFile(join(here, 'kustomization.yaml'), `${stringify(own)}${lines}`)
    const rendered = await render(here)
    const { groups } = rulesSchema.parse(only(rendered, 'PrometheusRule')).spec
    for (const { annotations } of groups.flatMap(({ rules }) => rules))
      t.match(annotations.runbook_url, new RegExp(`^${address}/runbooks/[\\w-]+\\.md$`))
    t.notOk(
      rendered.some(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name.startsWith('runbooks')),
      'and nothing is applied for it',
    )
  },
)
