import { isRecord, optionalNumber, optionalString } from '../parse/fields.ts'

export interface KubernetesErrorFacts {
  readonly method: string
  readonly path: string
  /**
   * One word for programs: Kubernetes' own reason (`NotFound`, `Conflict`, `Expired`), the transport's code
   * (`ECONNREFUSED`, `UND_ERR_SOCKET`), or ours: `Timeout`, `UnreadableBody`, `Network`.
   */
  readonly code: string
  /** The HTTP status; absent when no answer came. In a watch, the status of the ERROR event. */
  readonly status?: number | undefined
  readonly reason?: string | undefined
  readonly retryAfterMs?: number | undefined
}

/** A request to the apiserver that brought no useful answer: what was asked, and what came instead. */
export class KubernetesError extends Error {
  override readonly name = 'KubernetesError'
  readonly method: string
  readonly path: string
  readonly code: string
  readonly status: number | undefined
  readonly reason: string | undefined
  readonly retryAfterMs: number | undefined

  constructor(facts: KubernetesErrorFacts, message: string, options?: ErrorOptions) {
    const status = facts.status === undefined ? '' : `${facts.status} `
    super(`${facts.method} ${facts.path}: ${status}${facts.code}: ${message}`, options)
    this.method = facts.method
    this.path = facts.path
    this.code = facts.code
    this.status = facts.status
    this.reason = facts.reason
    this.retryAfterMs = facts.retryAfterMs
  }
}

/** The longest message of a server that is repeated: enough for any Status, too short for a proxy's HTML page to flood a log. */
const MAX_MESSAGE = 500

/**
 * The error a `Status` object or any other body of a failed request stands for.
 * `retryAfter` is the header, in seconds as Kubernetes writes it; `details.retryAfterSeconds` says the same in the body.
 * Source: apimachinery `metav1.Status`.
 */
export function statusError(asked: AskedWithStatus, body: unknown): KubernetesError {
  const { method, path, status } = asked
  const fields = isRecord(body) ? body : { message: body }
  const reason = optionalString(fields['reason'])
  const message = optionalString(fields['message']) ?? 'no message'
  const retryAfterMs = retryAfterOf(asked.retryAfter, fields['details'])
  const code = detailOf(message, fields['details']) ?? reason ?? 'Status'
  const facts = { method, path, status, reason, code, retryAfterMs }
  return new KubernetesError(facts, message.slice(0, MAX_MESSAGE))
}

interface AskedWithStatus {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly retryAfter?: string | undefined
}

function retryAfterOf(header: string | undefined, details: unknown): number | undefined {
  const inBody = isRecord(details) ? optionalNumber(details['retryAfterSeconds']) : undefined
  const seconds = Number(header ?? inBody ?? Number.NaN)
  return Number.isFinite(seconds) ? seconds * 1000 : undefined
}

/** Source: apimachinery, `metav1.CauseTypeResourceVersionTooLarge`. */
const TOO_LARGE = 'ResourceVersionTooLarge'
const OTHER_UID = 'OtherUid'

/**
 * What a Status says more exactly than by its reason. A patch whose `metadata.uid` is not the object's is refused as
 * Invalid (422), an apply to an object that is gone as a Conflict (409); both mean: not the object you know.
 */
function detailOf(message: string, details: unknown): string | undefined {
  const causes =
    isRecord(details) && Array.isArray(details['causes']) ? details['causes'].filter(isRecord) : []
  if (causes.some(cause => cause['reason'] === TOO_LARGE)) return TOO_LARGE
  if (message.includes('uid mismatch')) return OTHER_UID
  return causes.some(cause => cause['field'] === 'metadata.uid') ? OTHER_UID : undefined
}

/** The word a transport's error is known by; undici hides it in the cause now and then. */
export function codeOf(error: unknown): string {
  const { code, cause } = isRecord(error) ? { code: error['code'], cause: error['cause'] } : {}
  if (typeof code === 'string') return code
  return cause === undefined ? 'Network' : codeOf(cause)
}

const hasStatus = (error: unknown, status: number): boolean =>
  error instanceof KubernetesError && error.status === status

/** There is no such object: an answer, not a failure. */
export const isNotFound = (error: unknown): boolean => hasStatus(error, 404)

/** We may not: RBAC, or an admission plugin, says so. */
export const isForbidden = (error: unknown): boolean => hasStatus(error, 403)

/** The object by that name is not the one that was meant: that one is gone. */
export const isOtherUid = (error: unknown): boolean =>
  error instanceof KubernetesError && error.code === OTHER_UID

/** The object changed since it was read, is another one by now, or belongs to another field manager. */
export const isConflict = (error: unknown): boolean => hasStatus(error, 409)

/** The resource version is too old for the server: only a new list helps. */
export const isExpired = (error: unknown): boolean =>
  hasStatus(error, 410) ||
  (error instanceof KubernetesError && (error.reason === 'Expired' || error.reason === 'Gone'))

/** The server has not yet seen this resource version: it may catch up, or it was restored from an older backup. */
export const isTooLarge = (error: unknown): boolean =>
  error instanceof KubernetesError && error.code === TOO_LARGE
