import { readFile } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { configurationsPath } from '../../admission/on-cluster.ts'
import type { Ask } from '../../admission/on-cluster.ts'
import type { Contestant } from './contestants.ts'

const MANIFEST = new URL('../../../manifests/base/webhooks.yaml', import.meta.url)

/** Of the manifest's webhooks those that the creation of a Job calls. */
const NAMES = new Set(['jobs.mutate.prefect-lifeguard.dev', 'runs.validate.prefect-lifeguard.dev'])

const configurationSchema = z.looseObject({
  kind: z.enum(['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration']),
  metadata: z.looseObject({ name: z.string() }),
  webhooks: z.array(z.looseObject({ name: z.string() })),
})

/** Has the apiserver call a contestant for one namespace, registered as ours is. */
export async function registerContestant(
  ask: Ask,
  {
    contestant,
    ca,
    namespace,
  }: { readonly contestant: Contestant; readonly ca: string; readonly namespace: string },
): Promise<void> {
  const values = [namespace]
  const namespaceSelector = {
    matchExpressions: [{ key: 'kubernetes.io/metadata.name', operator: 'In', values }],
  }
  for (const document of parseAllDocuments(await readFile(MANIFEST, 'utf8'))) {
    const { webhooks, ...configuration } = configurationSchema.parse(document.toJS())
    const path =
      configuration.kind === 'MutatingWebhookConfiguration' ? contestant.mutate : contestant.validate
    const clientConfig = {
      url: `https://127.0.0.1:${contestant.port}${path}`,
      caBundle: Buffer.from(ca).toString('base64'),
    }
    const { status, body } = await ask({
      method: 'POST',
      path: configurationsPath(configuration.kind),
      body: {
        ...configuration,
        metadata: { name: namespace },
        webhooks: webhooks
          .filter(({ name }) => NAMES.has(name))
          .map(webhook => Object.assign({}, webhook, { clientConfig, namespaceSelector })),
      },
    })
    if (status !== 201)
      throw new Error(`registering ${contestant.name} was answered ${status}: ${body.message}`)
  }
}
