import { Counter, Gauge } from 'prom-client'
import type { Registry } from 'prom-client'
import type { Validity } from './authority.ts'
import type { WebhookConfigurationKind } from './ca-bundle.ts'

/** The parts of a check, in their order. */
export type CheckStep = 'authority' | 'ca_bundle' | 'leaf'

export interface CertificateMetrics {
  /** Undefined where there is none (any more). */
  readonly expires: (
    certificate: 'leaf' | 'authority' | 'next_authority',
    validity: Validity | undefined,
  ) => void
  readonly wroteBundle: (kind: WebhookConfigurationKind) => void
  readonly failed: (step: CheckStep) => void
}

/** Alert when `lifeguard_certificate_expiry_timestamp_seconds - time()` of the leaf falls below a day. */
export function createCertificateMetrics(registry: Registry): CertificateMetrics {
  const registers = [registry]
  const expiry = new Gauge({
    name: 'lifeguard_certificate_expiry_timestamp_seconds',
    help: 'When a certificate of the webhooks ends, in seconds since 1970.',
    labelNames: ['certificate'],
    registers,
  })
  const bundles = new Counter({
    name: 'lifeguard_ca_bundle_writes_total',
    help: 'Times a webhook configuration held another caBundle than it should and was put right.',
    labelNames: ['configuration'],
    registers,
  })
  const failures = new Counter({
    name: 'lifeguard_certificate_check_failures_total',
    help: 'Certificate checks that failed, by step; they are repeated.',
    labelNames: ['step'],
    registers,
  })
  return {
    expires: (certificate, validity) => {
      if (validity === undefined) expiry.remove({ certificate })
      else expiry.set({ certificate }, validity.notAfter.getTime() / 1000)
    },
    wroteBundle: configuration => bundles.inc({ configuration }),
    failed: step => failures.inc({ step }),
  }
}
