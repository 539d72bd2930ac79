import { Registry } from 'prom-client'
import type { CertificateKeeperDeps } from '../../src/certificates/keeper.ts'
import type { SecretBody } from '../../src/certificates/secret.ts'
import type { WebhookConfigurationKind } from '../../src/certificates/ca-bundle.ts'
import { recordingLogger } from '../admission/server-of.ts'

export const SERVICE = { namespace: 'prefect-lifeguard', name: 'prefect-lifeguard' }

interface Entry {
  name: string
  clientConfig: {
    caBundle?: string
    url?: string
    service?: { namespace: string; name: string; path?: string }
  }
}

export interface Configuration {
  metadata: { name: string; resourceVersion: string; annotations?: Record<string, string> }
  webhooks: Entry[]
}

export type Stored = SecretBody & { metadata: { resourceVersion: string } }

const entry = (name: string): Entry => ({
  name,
  clientConfig: { service: { ...SERVICE, path: `/${name}` } },
})

const configuration = (...webhooks: Entry[]): Configuration => ({
  metadata: { name: 'prefect-lifeguard', resourceVersion: '1' },
  webhooks,
})

/**
 * A Secret and two webhook configurations with the apiserver's optimistic concurrency, in memory: the real one, in
 * test/integration/certificates.test.ts, lets nobody choose the moment of a conflict or jump over a year.
 */
export function apiOf() {
  const state: {
    version: number
    secret: Stored | undefined
    configurations: Partial<Record<WebhookConfigurationKind, Configuration>>
    /** Called before every request; may throw or write. */
    before: (verb: string) => void
  } = {
    version: 1,
    secret: undefined,
    configurations: {
      MutatingWebhookConfiguration: configuration(entry('jobs.mutate'), entry('pods.mutate')),
      ValidatingWebhookConfiguration: configuration(entry('validate')),
    },
    before: () => undefined,
  }
  const write = (secret: SecretBody): Stored => {
    state.version += 1
    return { ...secret, metadata: { ...secret.metadata, resourceVersion: String(state.version) } }
  }
  const api: Pick<
    CertificateKeeperDeps,
    'readSecret' | 'createSecret' | 'updateSecret' | 'readWebhookConfiguration' | 'patchCaBundle'
  > = {
    readSecret: async () => {
      state.before('readSecret')
      return structuredClone(state.secret)
    },
    createSecret: async secret => {
      state.before('createSecret')
      if (state.secret) return false
      state.secret = write(secret)
      return true
    },
    updateSecret: async secret => {
      state.before('updateSecret')
      if (state.secret?.metadata.resourceVersion !== secret.metadata.resourceVersion) return false
      state.secret = write(secret)
      return true
    },
    readWebhookConfiguration: async kind => {
      state.before('readWebhookConfiguration')
      return structuredClone(state.configurations[kind])
    },
    patchCaBundle: async (kind, patch) => {
      state.before('patchCaBundle')
      const { metadata, webhooks } = patch as Configuration
      const stored = state.configurations[kind]
      if (stored?.metadata.resourceVersion !== metadata.resourceVersion) return false
      state.version += 1
      stored.metadata.resourceVersion = String(state.version)
      for (const { name, clientConfig } of webhooks) {
        Object.assign(stored.webhooks.find(entry => entry.name === name)?.clientConfig ?? {}, clientConfig)
      }
      return true
    },
  }
  return { api, state }
}

/** The certificates in a caBundle. */
export const certificatesIn = (caBundle: string | undefined): string[] =>
  Buffer.from(caBundle ?? '', 'base64')
    .toString()
    .match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []

/** What a keeper needs besides the API. */
export function replicaOf(api: ReturnType<typeof apiOf>['api'], clock: { now: Date }) {
  const registry = new Registry()
  const { logger, lines } = recordingLogger()
  const shown: { cert: string; key: string }[] = []
  const deps: CertificateKeeperDeps = {
    ...api,
    secret: { namespace: 'prefect-lifeguard', name: 'prefect-lifeguard-ca' },
    service: SERVICE,
    dnsNames: ['prefect-lifeguard.prefect-lifeguard.svc'],
    onLeaf: leaf => void shown.push(leaf),
    now: () => clock.now,
    logger,
    registry,
  }
  return { deps, registry, lines, shown }
}
