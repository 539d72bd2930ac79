import { z } from 'zod'

export type WebhookConfigurationKind = 'MutatingWebhookConfiguration' | 'ValidatingWebhookConfiguration'

export const WEBHOOK_CONFIGURATION_KINDS: readonly WebhookConfigurationKind[] = [
  'MutatingWebhookConfiguration',
  'ValidatingWebhookConfiguration',
]

/** The Service our webhooks are called by. */
export interface ServiceReference {
  readonly namespace: string
  readonly name: string
}

/** What the apiserver trusts for one of our configurations, and what it should. */
export type BundleState =
  /** Every entry of ours holds exactly the wanted bundle. */
  | { readonly kind: 'inPlace' }
  /** Some entry holds something else: the patch (strategic merge) puts that right. */
  | { readonly kind: 'drifted'; readonly patch: object }
  /** Nothing here for us to write; `why` is for the log. */
  | { readonly kind: 'notOurs'; readonly why: string }

const configurationSchema = z.object({
  metadata: z.object({
    resourceVersion: z.string(),
    annotations: z.record(z.string(), z.string()).nullish(),
  }),
  webhooks: z
    .array(
      z.object({
        name: z.string(),
        clientConfig: z.object({
          caBundle: z.string().nullish(),
          service: z.object({ namespace: z.string(), name: z.string() }).nullish(),
        }),
      }),
    )
    .nullish(),
})

/** cert-manager's cainjector writes caBundle where one of its annotations asks for it; two writers would never agree. */
const CERT_MANAGER_PREFIX = 'cert-manager.io/inject-'

/**
 * Compares a webhook configuration, as the API answers it, with the bundle it should hold.
 * Only entries that call our own Service are ours; one registered by URL, or for another Service, is never touched.
 * The patch carries the resourceVersion, so that of two writers one is told to look again. Throws a TypeError when
 * the object is no webhook configuration.
 */
export function bundleStateOf(
  configuration: unknown,
  { bundle, service }: { readonly bundle: string; readonly service: ServiceReference },
): BundleState {
  const { metadata, webhooks } = parse(configuration)
  if (Object.keys(metadata.annotations ?? {}).some(key => key.startsWith(CERT_MANAGER_PREFIX))) {
    return { kind: 'notOurs', why: 'cert-manager is asked to write its caBundle' }
  }
  const ours = (webhooks ?? []).filter(({ clientConfig }) =>
    isSame(clientConfig.service ?? undefined, service),
  )
  if (ours.length === 0)
    return { kind: 'notOurs', why: `no webhook of it calls Service ${service.namespace}/${service.name}` }
  const drifted = ours.filter(({ clientConfig }) => clientConfig.caBundle !== bundle)
  if (drifted.length === 0) return { kind: 'inPlace' }
  const entries = drifted.map(({ name }) => ({ name, clientConfig: { caBundle: bundle } }))
  return {
    kind: 'drifted',
    patch: { metadata: { resourceVersion: metadata.resourceVersion }, webhooks: entries },
  }
}

/** PEM certificates as `clientConfig.caBundle` wants them. */
export const caBundleOf = (certificates: readonly string[]): string =>
  Buffer.from(certificates.map(pem => `${pem.trimEnd()}\n`).join('')).toString('base64')

const isSame = (a: ServiceReference | undefined, b: ServiceReference): boolean =>
  a?.namespace === b.namespace && a.name === b.name

function parse(configuration: unknown): z.infer<typeof configurationSchema> {
  const result = configurationSchema.safeParse(configuration)
  if (result.success) return result.data
  throw new TypeError(`webhook configuration is not what the API describes: ${z.prettifyError(result.error)}`)
}
