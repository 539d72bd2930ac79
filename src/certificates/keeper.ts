import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import { createAuthorityStore } from './authority-store.ts'
import type { AuthorityStoreDeps } from './authority-store.ts'
import { isValidAt } from './authority.ts'
import type { KeyPair } from './authority.ts'
import { createBundleWriter } from './bundle-writer.ts'
import type { BundleWriter, BundleWriterDeps } from './bundle-writer.ts'
import { createLeafSigner } from './leaf-signer.ts'
import type { LeafSigner, LeafSignerDeps } from './leaf-signer.ts'
import { LIFETIMES } from './lifetimes.ts'
import type { Lifetimes } from './lifetimes.ts'
import { createCertificateMetrics } from './metrics.ts'
import type { CertificateMetrics, CheckStep } from './metrics.ts'
import { pause, repeat } from './repeat.ts'
import { trusted } from './rotation.ts'
import type { Authorities } from './rotation.ts'

export interface CertificateKeeperDeps
  extends
    Pick<AuthorityStoreDeps, 'readSecret' | 'createSecret' | 'updateSecret' | 'secret'>,
    Pick<BundleWriterDeps, 'readWebhookConfiguration' | 'patchCaBundle' | 'service'>,
    Pick<LeafSignerDeps, 'dnsNames' | 'ipAddresses'> {
  /** Given every leaf after the first one, to be shown from then on. */
  readonly onLeaf: (leaf: KeyPair) => void
  readonly lifetimes?: Partial<Lifetimes>
  readonly now: () => Date
  readonly logger: Logger
  readonly registry: Registry
}

export interface CertificateKeeper {
  /**
   * Resolves with the first leaf, however long the API is away, and goes on checking until the signal aborts. Rejects
   * only when it aborts before there is one.
   */
  readonly start: (signal: AbortSignal) => Promise<KeyPair>
  /** One look at everything, as `start` takes it time and again. Never rejects; what failed is logged and counted. */
  readonly check: (signal: AbortSignal) => Promise<void>
  /** For readiness: there is a certificate to show. */
  readonly hasValidLeaf: () => boolean
  /** For readiness: at the last look the mutating webhooks trusted our authority. */
  readonly isRegistered: () => boolean
}

/** An API that has not answered by then has failed; the next look comes anyway. */
const CHECK_DEADLINE_MS = 30_000

/** Nobody is served before there is a leaf, so the API is asked more often at start. */
const FIRST_LEAF_RETRY_MS = 1_000

/**
 * Keeps the certificates of the webhooks: one authority for all replicas, in a Secret; a leaf for each replica, in
 * memory alone; and the authority in the webhook configurations.
 * There is no timer per certificate: the wall clock is looked at every few seconds, so that a machine that slept
 * (its monotonic clock with it) renews as soon as it wakes.
 */
export function createCertificateKeeper(deps: CertificateKeeperDeps): CertificateKeeper {
  const lifetimes = { ...LIFETIMES, ...deps.lifetimes }
  const metrics = createCertificateMetrics(deps.registry)
  const bundles = createBundleWriter({ ...deps, wroteBundle: metrics.wroteBundle })
  const signer = createLeafSigner({ ...deps, lifetimes })
  const agree = createAuthorityStore({
    ...deps,
    lifetimes,
    nextTrustedSince: createTrust(bundles, deps.now),
    onStep: step => deps.logger.info({ step }, 'changed the webhook authority'),
  })
  const check = createCheck({ deps, metrics, bundles, signer, agree })
  return {
    check,
    start: async signal => {
      const first = await firstLeaf(signer.leaf, { check, signal })
      void repeat(check, lifetimes.tickMs, signal)
      return first
    },
    hasValidLeaf: () => {
      const leaf = signer.leaf()
      return leaf !== undefined && isValidAt(leaf, deps.now())
    },
    isRegistered: bundles.isRegistered,
  }
}

/** A look that fails tells nothing, so nothing is trusted by it; the check's own look reports the failure. */
const createTrust =
  (bundles: BundleWriter, now: () => Date): AuthorityStoreDeps['nextTrustedSince'] =>
  async (authorities, signal) => {
    try {
      await bundles.write(trusted(authorities, now()), signal)
    } catch {
      return undefined
    }
    return authorities.next && bundles.trustedSince(authorities.next.cert)
  }

interface Parts {
  readonly deps: CertificateKeeperDeps
  readonly metrics: CertificateMetrics
  readonly bundles: BundleWriter
  readonly signer: LeafSigner
  readonly agree: (signal: AbortSignal) => Promise<Authorities>
}

type Check = CertificateKeeper['check']

/** The order is the point: agree on an authority, have it trusted, and only then sign with it. */
function createCheck(parts: Parts): Check {
  const { deps, metrics, bundles, agree } = parts
  const attempt = createAttempt(parts)
  let authorities: Authorities | undefined
  return async stop => {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(CHECK_DEADLINE_MS)])
    await attempt('authority', async () => {
      authorities = await agree(signal)
      metrics.expires('authority', authorities.current)
      metrics.expires('next_authority', authorities.next)
    })
    // With the API away, what was agreed on last goes on signing leaves.
    const agreed = authorities
    if (agreed === undefined) return
    await attempt('ca_bundle', () => bundles.write(trusted(agreed, deps.now()), signal))
    await attempt('leaf', () => renewLeaf(parts, agreed))
  }
}

async function renewLeaf({ deps, metrics, signer }: Parts, authorities: Authorities): Promise<void> {
  const isFirst = signer.leaf() === undefined
  const leaf = await signer.renew(authorities)
  if (leaf === undefined) return
  metrics.expires('leaf', leaf)
  deps.logger.info({ notAfter: leaf.notAfter }, 'signed a certificate for the webhooks')
  if (!isFirst) deps.onLeaf(leaf)
}

const createAttempt =
  ({ deps: { logger }, metrics }: Parts) =>
  async (step: CheckStep, work: () => Promise<void>): Promise<void> => {
    try {
      await work()
    } catch (err) {
      metrics.failed(step)
      logger.error({ err, step }, 'could not check the certificates of the webhooks, will try again')
    }
  }

async function firstLeaf(
  leafOf: () => KeyPair | undefined,
  { check, signal }: { readonly check: Check; readonly signal: AbortSignal },
): Promise<KeyPair> {
  while (!signal.aborted) {
    // oxlint-disable-next-line no-await-in-loop -- one look after the other
    await check(signal)
    const leaf = leafOf()
    if (leaf !== undefined) return leaf
    // oxlint-disable-next-line no-await-in-loop -- as above
    await pause(FIRST_LEAF_RETRY_MS, signal)
  }
  throw new Error('stopped before there was a certificate for the webhooks', { cause: signal.reason })
}
