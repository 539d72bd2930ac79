import type { Logger } from 'pino'
import { bundleStateOf, caBundleOf, WEBHOOK_CONFIGURATION_KINDS } from './ca-bundle.ts'
import type { ServiceReference, WebhookConfigurationKind } from './ca-bundle.ts'

export interface BundleWriterDeps {
  /** GET of our configuration of this kind; undefined when there is none. */
  readonly readWebhookConfiguration: (kind: WebhookConfigurationKind, signal: AbortSignal) => Promise<unknown>
  /** PATCH, a strategic merge; false when the configuration has changed since. */
  readonly patchCaBundle: (
    kind: WebhookConfigurationKind,
    patch: object,
    signal: AbortSignal,
  ) => Promise<boolean>
  readonly service: ServiceReference
  readonly wroteBundle: (kind: WebhookConfigurationKind) => void
  readonly now: () => Date
  readonly logger: Logger
}

export interface BundleWriter {
  /** Has every configuration of ours hold exactly these certificates (PEM). Rejects when one could not be asked. */
  readonly write: (certificates: readonly string[], signal: AbortSignal) => Promise<void>
  /** Since when every look has found a certificate in every configuration of ours; undefined when the last did not. */
  readonly trustedSince: (certificate: string) => Date | undefined
  /** Whether the mutating webhooks held what they should at the last look that got an answer. */
  readonly isRegistered: () => boolean
}

/** How a configuration was left. `changed`: somebody else wrote at the same time, the next look will tell. */
type Left = 'right' | 'changed' | 'notOurs' | 'missing'

/** What a look found. */
interface Seen {
  /** Certificates in every configuration, and since when every look has found them there. */
  readonly trusted: ReadonlyMap<string, Date>
  readonly isRegistered: boolean
}

/** Looks after the caBundle of our webhook configurations, and remembers for how long it has been right. */
export function createBundleWriter(deps: BundleWriterDeps): BundleWriter {
  let seen: Seen = { trusted: new Map(), isRegistered: false }

  const write = async (certificates: readonly string[], signal: AbortSignal): Promise<void> => {
    const { trusted, isRegistered } = seen
    // Should this look end without an answer, nothing is proven any more; but a replica is not made unready by an API
    // that stutters.
    const unproven: Seen = { trusted: new Map(), isRegistered }
    const bundle = caBundleOf(certificates)
    const looks = WEBHOOK_CONFIGURATION_KINDS.map(kind => writeOne(deps, { kind, bundle, signal }))
    const left = await Promise.all(looks).catch((error: unknown) => {
      seen = unproven
      throw error
    })
    // A configuration that does not exist sends nobody to us, so it need not trust us either.
    seen = left.includes('changed')
      ? unproven
      : {
          trusted: new Map(
            certificates.map(certificate => [certificate, trusted.get(certificate) ?? deps.now()]),
          ),
          isRegistered: left[0] === 'right',
        }
  }
  return {
    write,
    trustedSince: certificate => seen.trusted.get(certificate),
    isRegistered: () => seen.isRegistered,
  }
}

async function writeOne(
  deps: BundleWriterDeps,
  {
    kind,
    bundle,
    signal,
  }: { readonly kind: WebhookConfigurationKind; readonly bundle: string; readonly signal: AbortSignal },
): Promise<Left> {
  const configuration = await deps.readWebhookConfiguration(kind, signal)
  if (configuration === undefined) return 'missing'
  const state = bundleStateOf(configuration, { bundle, service: deps.service })
  switch (state.kind) {
    case 'inPlace':
      return 'right'
    case 'notOurs':
      deps.logger.warn({ kind, why: state.why }, 'left the caBundle of a webhook configuration alone')
      return 'notOurs'
    case 'drifted':
      if (!(await deps.patchCaBundle(kind, state.patch, signal))) return 'changed'
      deps.wroteBundle(kind)
      deps.logger.info({ kind }, 'wrote the caBundle of a webhook configuration')
      return 'right'
  }
}
