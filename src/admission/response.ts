import type { Decision } from './decision.ts'
import { API_VERSION } from './review.ts'

/** The answer to a review, as the apiserver reads it. */
interface AdmissionResponse {
  readonly uid: string
  readonly allowed: boolean
  readonly patchType?: 'JSONPatch'
  /** The patch's JSON in base64. */
  readonly patch?: string
  readonly warnings?: readonly string[]
  readonly auditAnnotations?: Readonly<Record<string, string>>
  readonly status?: { readonly code: number; readonly reason: string; readonly message: string }
}

export interface AnsweredReview {
  readonly apiVersion: typeof API_VERSION
  readonly kind: 'AdmissionReview'
  readonly response: AdmissionResponse
}

/** Puts a decision into words for the apiserver. An empty patch is none: a `patchType` without one is refused. */
export function answerOf(uid: string, { patch = [], warnings, audit, denial }: Decision): AnsweredReview {
  return {
    apiVersion: API_VERSION,
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed: denial === undefined,
      ...(patch.length > 0 && { patchType: 'JSONPatch', patch: base64(JSON.stringify(patch)) }),
      ...(warnings && { warnings }),
      ...(audit !== undefined && { auditAnnotations: { outcome: audit } }),
      ...(denial !== undefined && { status: { code: 403, reason: 'Forbidden', message: denial } }),
    },
  }
}

const base64 = (text: string): string => Buffer.from(text).toString('base64')
