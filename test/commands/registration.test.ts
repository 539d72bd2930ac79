import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { createRegistration, readManifests } from '../../src/commands/registration.ts'

const signal = new AbortController().signal

const webhookShape = z.looseObject({ name: z.string(), clientConfig: z.looseObject({}) })

const shape = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string() }),
  webhooks: z.array(webhookShape),
})

const INSTALLED = new URL('../../manifests/base/webhooks.yaml', import.meta.url)

/** A cluster that notes what it is told. */
function createCluster() {
  const applied: z.infer<typeof shape>[] = []
  const removed: string[] = []
  return {
    applied,
    removed,
    api: {
      applyWebhookConfiguration: async (manifest: unknown) => {
        applied.push(shape.parse(manifest))
        return 'applied' as const
      },
      deleteWebhookConfiguration: async (kind: string, name: string) => {
        removed.push(`${kind} ${name}`)
        return true
      },
    },
  }
}

const withoutPlace = ({ clientConfig: _clientConfig, ...webhook }: z.infer<typeof webhookShape>) => webhook

const SERVED = { base: 'https://10.0.0.7:8443', caBundle: 'Q0E=' }

t.test(
  'what is installed is registered under our own name, served from here, and else unchanged',
  async t => {
    const { api, applied } = createCluster()
    await createRegistration(api, await readManifests()).apply(SERVED, signal)
    const installed = parseAllDocuments(await readFile(INSTALLED, 'utf8')).map(one => shape.parse(one.toJS()))
    t.equal(applied.length, installed.length)
    for (const [n, { metadata, webhooks, ...rest }] of installed.entries()) {
      const { metadata: ours, webhooks: served = [], ...same } = applied[n] ?? {}
      t.same(same, rest, `${rest.kind}: all else`)
      t.same(ours, { ...metadata, name: `${metadata.name}-dev` }, `${rest.kind}: its name`)
      t.same(served.map(withoutPlace), webhooks.map(withoutPlace), `${rest.kind}: rules, selectors, policies`)
      for (const { name, clientConfig } of served)
        t.match(
          clientConfig,
          { url: /^https:\/\/10\.0\.0\.7:8443\/(mutate|validate)$/, caBundle: 'Q0E=', service: undefined },
          `${name}: where it is served from`,
        )
    }
  },
)

t.test('what was registered is taken away again, and nothing else', async t => {
  const { api, removed } = createCluster()
  await createRegistration(api, await readManifests()).remove(signal)
  t.strictSame(
    new Set(removed),
    new Set([
      'MutatingWebhookConfiguration prefect-lifeguard-dev',
      'ValidatingWebhookConfiguration prefect-lifeguard-dev',
    ]),
  )
})

t.test('reading twice gives the same', async t => {
  t.same(await readManifests(), await readManifests())
})
