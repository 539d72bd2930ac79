import type { KeyPair } from '../certificates/authority.ts'
import { createFileCertificates } from '../certificates/files.ts'
import type { CertificateKeeperDeps } from '../certificates/keeper.ts'
import { createCertificateKeeper } from '../certificates/keeper.ts'
import type { Config } from '../config.ts'
import { createObjects } from '../kubernetes/objects.ts'
import type { At } from '../kubernetes/objects.ts'
import { MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS } from '../kubernetes/paths.ts'
import type { WebhookConfigurationKind } from '../kubernetes/writes.ts'
import type { Check } from '../operations/status-report.ts'
import type { Foundation } from './foundation.ts'

/** What the admission server shows. */
type Leaf = Pick<KeyPair, 'cert' | 'key'>

/** Where the admission server's certificate comes from. */
export interface CertificateSource {
  /** The first certificate; `onLeaf` is told of every later one until the signal aborts. */
  readonly start: (onLeaf: (leaf: Leaf) => void, signal: AbortSignal) => Promise<Leaf>
  readonly readiness: () => readonly Check[]
  /** A name that the certificate has to hold: what the API server calls us. */
  readonly servername: string
}

/** Made and renewed by the replicas themselves. */
export function ownCertificates(foundation: Foundation): CertificateSource {
  const { config, logger, registry } = foundation
  const servername = serviceName(config)
  const listener: { tell?: (leaf: Leaf) => void } = {}
  const keeper = createCertificateKeeper({
    ...storesOf(foundation),
    secret: secretOf(config),
    service: { namespace: config.namespace, name: config.service },
    dnsNames: [servername, `${servername}.cluster.local`],
    onLeaf: leaf => listener.tell?.(leaf),
    now: () => new Date(),
    logger,
    registry,
  })
  return {
    servername,
    start: (onLeaf, signal) => {
      listener.tell = onLeaf
      return keeper.start(signal)
    },
    readiness: () => [
      { name: 'certificate', ok: keeper.hasValidLeaf(), detail: 'of our own authority' },
      {
        name: 'registration',
        ok: keeper.isRegistered(),
        detail: 'the webhook configurations trust our authority',
      },
    ],
  }
}

type Stores = Pick<
  CertificateKeeperDeps,
  'readSecret' | 'createSecret' | 'updateSecret' | 'readWebhookConfiguration' | 'patchCaBundle'
>

/** Where the keeper keeps its authority, and where it makes it known. */
function storesOf({ config, access }: Foundation): Stores {
  const objects = createObjects(access)
  const { namespace, name } = secretOf(config)
  const secret = { resource: SECRETS, namespace, name }
  return {
    readSecret: signal => objects.read(secret, json => json, signal),
    createSecret: (body, signal) => objects.create({ resource: SECRETS, namespace }, body, signal),
    updateSecret: (body, signal) => objects.replace(secret, body, signal),
    readWebhookConfiguration: (kind, signal) =>
      objects.read(configurationOf(kind, config), json => json, signal),
    patchCaBundle: async (kind, body, signal) => {
      const patched = await objects.patch(configurationOf(kind, config), { type: 'strategic', body }, signal)
      return patched === 'applied'
    },
  }
}

/** As the API server names a Service that it calls. */
const serviceName = ({ service, namespace }: Config): string => `${service}.${namespace}.svc`

/** The Secret that the replicas keep their authority in. */
export const secretOf = ({ namespace, service }: Config) => ({ namespace, name: `${service}-ca` })

/** Our own registrations. */
export const configurationOf = (kind: WebhookConfigurationKind, { service }: Config): At => ({
  resource: kind === 'MutatingWebhookConfiguration' ? MUTATING_WEBHOOKS : VALIDATING_WEBHOOKS,
  name: service,
})

/** Renewed by somebody else, such as cert-manager, in a folder. */
export function certificatesIn(dir: string, { logger, registry, config }: Foundation): CertificateSource {
  const files = createFileCertificates({ dir, logger, registry })
  return {
    servername: serviceName(config),
    start: files.start,
    readiness: () => [{ name: 'certificate', ok: files.hasValidLeaf(), detail: `of ${dir}` }],
  }
}
