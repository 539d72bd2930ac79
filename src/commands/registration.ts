import { readFile } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import type { KubernetesApi } from '../kubernetes/api.ts'

/** The registration as it is installed: the single source. */
const MANIFEST = new URL('../../manifests/base/webhooks.yaml', import.meta.url)

/** Beside an installation in the same cluster, not in its place. */
const SUFFIX = '-dev'

const manifestSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.enum(['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration']),
  metadata: z.looseObject({ name: z.string() }),
  webhooks: z.array(
    z.looseObject({ clientConfig: z.object({ service: z.looseObject({ path: z.string() }) }) }),
  ),
})

type Manifest = z.infer<typeof manifestSchema>

/** Where the webhooks are served from, in place of a Service. */
export interface Served {
  /** `https://host:port`, as the API server reaches it. */
  readonly base: string
  readonly caBundle: string
}

/** The webhook configurations of a process that runs outside the cluster. */
export interface Registration {
  readonly apply: (served: Served, signal: AbortSignal) => Promise<void>
  readonly remove: (signal: AbortSignal) => Promise<void>
}

/** Reads what is installed, under names of our own. */
export async function readManifests(): Promise<readonly Manifest[]> {
  const documents = parseAllDocuments(await readFile(MANIFEST, 'utf8'))
  return documents.map(document => {
    const manifest = manifestSchema.parse(document.toJS())
    manifest.metadata.name += SUFFIX
    return manifest
  })
}

/** Registers the manifests with nothing changed but where they are served from. */
export const createRegistration = (
  kubernetes: Pick<KubernetesApi, 'applyWebhookConfiguration' | 'deleteWebhookConfiguration'>,
  manifests: readonly Manifest[],
): Registration => ({
  apply: async (served, signal) => {
    await Promise.all(
      manifests.map(manifest => kubernetes.applyWebhookConfiguration(servedFrom(manifest, served), signal)),
    )
  },
  remove: async signal => {
    await Promise.all(
      manifests.map(({ kind, metadata }) =>
        kubernetes.deleteWebhookConfiguration(kind, metadata.name, signal),
      ),
    )
  },
})

function servedFrom(manifest: Manifest, { base, caBundle }: Served): Manifest {
  const webhooks = manifest.webhooks.map(webhook => {
    const clientConfig = { url: `${base}${webhook.clientConfig.service.path}`, caBundle }
    return Object.assign({}, webhook, { clientConfig })
  })
  return Object.assign({}, manifest, { webhooks })
}
