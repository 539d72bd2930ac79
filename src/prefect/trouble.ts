import type { Instant } from '../core/objects.ts'
import { retryAfterMs } from './backoff.ts'
import type { HttpAnswer } from './connection.ts'
import { messageOf } from './errors.ts'

/** Why a request brought no usable answer, where asking again may bring one. */
export interface Trouble {
  readonly kind: 'trouble'
  readonly why: string
  /** True where the request certainly changed nothing: it never arrived, or was turned away at the door. */
  readonly undone: boolean
  readonly retryAfterMs?: number
  readonly cause?: unknown
}

/** No connection, so that nothing was sent. Codes of Node's net, dns and of undici. */
const NOT_SENT: ReadonlySet<string> = new Set([
  'EAI_AGAIN',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** The words of Node's TLS errors vary, their codes name certificates, signatures and verification. */
const isCertificateCode = (code: string): boolean => /CERT|VERIFY|SIGNATURE|ALTNAME/.test(code)

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''

/** Whether an answer is worth a repetition: request timeout, too many requests, or the server's own trouble. */
const isTroubled = (status: number): boolean => status === 408 || status === 429 || status >= 500

/** The trouble an answer tells of, if any. */
export const troubleOfAnswer = (answer: HttpAnswer, now: Instant): Trouble | undefined => {
  if (!isTroubled(answer.status)) return undefined
  const wait = retryAfterMs(answer.retryAfter, now)
  return {
    kind: 'trouble',
    why: `answered ${answer.status}`,
    undone: answer.status === 429,
    ...(wait === undefined ? {} : { retryAfterMs: wait }),
  }
}

const hint = (code: string): string =>
  isCertificateCode(code) ? ' (its certificate is not trusted: check PREFECT_API_SSL_CERT_FILE)' : ''

/** The trouble a request met that brought no answer at all. */
export const troubleOfError = (error: unknown): Trouble => {
  const code = codeOf(error)
  const text = messageOf(error)
  const undone = NOT_SENT.has(code) || isCertificateCode(code)
  return {
    kind: 'trouble',
    why: `no answer: ${code === '' ? text : `${code} ${text}`}${hint(code)}`,
    undone,
    cause: error,
  }
}
