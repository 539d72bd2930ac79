import t from 'tap'
import { bundleStateOf, caBundleOf } from '../../src/certificates/ca-bundle.ts'
import { SERVICE } from './api-of.ts'

const bundle = caBundleOf(['-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----'])
const entry = (caBundle: string | undefined, service: object | null = SERVICE) => ({
  name: 'jobs.mutate.prefect-lifeguard.dev',
  clientConfig: { caBundle, service },
})
const configuration = (...webhooks: object[]) => ({ metadata: { resourceVersion: '7' }, webhooks })

const cases: Record<string, { configuration: object; state: object }> = {
  'what holds the bundle is left alone': {
    configuration: configuration(entry(bundle)),
    state: { kind: 'inPlace' },
  },
  'what holds none, or another, is patched by name, for this version of it only': {
    configuration: configuration(entry(undefined), { ...entry('b2xk'), name: 'pods' }),
    state: {
      kind: 'drifted',
      patch: {
        metadata: { resourceVersion: '7' },
        webhooks: [
          { name: 'jobs.mutate.prefect-lifeguard.dev', clientConfig: { caBundle: bundle } },
          { name: 'pods', clientConfig: { caBundle: bundle } },
        ],
      },
    },
  },
  'a webhook of another Service is not ours': {
    configuration: configuration(entry('b2xk', { namespace: 'other', name: 'prefect-lifeguard' })),
    state: { kind: 'notOurs' },
  },
  'a webhook registered by URL is not ours': {
    configuration: configuration(entry('b2xk', null)),
    state: { kind: 'notOurs' },
  },
  'a configuration without webhooks is not ours': {
    configuration: { metadata: { resourceVersion: '7', annotations: {} } },
    state: { kind: 'notOurs' },
  },
  'cert-manager has been asked': {
    configuration: {
      ...configuration(entry('b2xk')),
      metadata: { resourceVersion: '7', annotations: { 'cert-manager.io/inject-ca-from': 'a/b' } },
    },
    state: { kind: 'notOurs', why: /cert-manager/ },
  },
}

for (const [name, { configuration, state }] of Object.entries(cases)) {
  t.test(name, async t => {
    t.match(bundleStateOf(configuration, { bundle, service: SERVICE }), state)
  })
}

t.test('what is no configuration is an error that names the field', async t => {
  t.throws(() => bundleStateOf({ metadata: {} }, { bundle, service: SERVICE }), {
    message: /resourceVersion/,
  })
})
