import type { Instant } from '../core/objects.ts'

/** A server that names a later hour than this has its clock wrong; nobody is to be silenced for ever. */
const LONGEST_RETRY_AFTER_MS = 5 * 60_000

export interface BackoffRange {
  readonly baseMs: number
  readonly capMs: number
}

/**
 * How long to wait before repetition number `attempt` (from 1), in milliseconds: anything up to an exponentially
 * growing bound. "Full jitter" spreads callers that failed together best.
 * Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export const backoffMs = (attempt: number, range: BackoffRange, random: () => number): number =>
  Math.round(random() * Math.min(range.capMs, range.baseMs * 2 ** (attempt - 1)))

/**
 * A `Retry-After` header as milliseconds from now: seconds or an HTTP-date (RFC 9110, section 10.2.3). Undefined
 * when it is absent or makes no sense.
 */
export const retryAfterMs = (header: string | undefined, now: Instant): number | undefined => {
  if (header === undefined || header.trim() === '') return undefined
  const seconds = Number(header)
  const ms = Number.isNaN(seconds) ? Date.parse(header) - now : seconds * 1000
  if (Number.isNaN(ms)) return undefined
  return Math.min(Math.max(ms, 0), LONGEST_RETRY_AFTER_MS)
}
