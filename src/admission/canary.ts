import jsonPatch from 'fast-json-patch'
import { z } from 'zod'
import { pass } from './decision.ts'
import type { Decision } from './decision.ts'
import type { AdmittedObject } from './review.ts'

/** A Lease with this label is a question whether our webhook is reached; the answer is the annotation of the same name. */
const CANARY_KEY = 'prefect-lifeguard.dev/canary'

export interface CanaryDeps {
  /** POST of a Lease with `dryRun=All`: admitted like any other object, and never stored. Gives what the API answers. */
  readonly dryRunCreate: (lease: object, signal: AbortSignal) => Promise<unknown>
  /** Our own; the webhook configuration sends us Leases of no other. */
  readonly namespace: string
  /** A label value nobody has used before. */
  readonly nonce: () => string
}

/** The webhook's side: repeats the label's value in the annotation. */
export function answerCanary({ metadata: { labels, annotations } }: AdmittedObject): Decision {
  const nonce = labels?.[CANARY_KEY]
  if (nonce === undefined) return pass('not_ours')
  const before = { metadata: { ...(annotations && { annotations }) } }
  const after = { metadata: { annotations: { ...annotations, [CANARY_KEY]: nonce } } }
  return { outcome: 'canary', patch: jsonPatch.compare(before, after) }
}

/**
 * The asking side: goes the whole way through the API server, Service, TLS and handler of some replica, as a Job does.
 * Kyverno watches itself like this. A Lease, because those we may create anyway, and because it costs no namespace
 * and no right to create Jobs. Rejects when the answer is not ours.
 */
export function createCanary({ dryRunCreate, namespace, nonce }: CanaryDeps) {
  return async (signal: AbortSignal): Promise<void> => {
    const value = nonce()
    const answer = await dryRunCreate(
      {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { generateName: 'prefect-lifeguard-canary-', namespace, labels: { [CANARY_KEY]: value } },
      },
      signal,
    )
    const { metadata } = answerSchema.parse(answer)
    if (metadata.annotations?.[CANARY_KEY] !== value) {
      throw new Error(
        'the API server did not call our webhook, or had no answer in time: see its log for "failed calling webhook", and that MutatingWebhookConfiguration and Service exist',
      )
    }
  }
}

const answerSchema = z.object({
  metadata: z.object({ annotations: z.record(z.string(), z.string()).optional() }),
})
