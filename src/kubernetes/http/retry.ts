import { KubernetesError } from './errors.ts'

const FIRST_MS = 250
const MOST_MS = 10_000

/** An error that says when to come again is obeyed up to here; beyond, whoever asked must decide. */
const MOST_PATIENCE_MS = 30_000

const OVERLOADED = 429

/** Statuses a second attempt can cure: overload and the failures of what stands before or behind the apiserver. */
const PASSING: ReadonlySet<number> = new Set([OVERLOADED, 500, 502, 503, 504])

/**
 * How long to wait before asking again, in milliseconds, or `undefined` where asking again would bring the same
 * answer: a 4xx, an answer that cannot be read, a caller who called it off. `made` counts the attempts so far. The
 * wait doubles and is drawn at random below its bound, so that replicas do not come back together; the server's
 * `Retry-After` is the least.
 */
export function retryDelay(error: unknown, made: number, random: () => number): number | undefined {
  if (!(error instanceof KubernetesError) || error.code === 'UnreadableBody') return undefined
  if (error.status !== undefined && !PASSING.has(error.status)) return undefined
  const least = error.retryAfterMs ?? 0
  if (least > MOST_PATIENCE_MS) return undefined
  return least + random() * Math.min(MOST_MS, FIRST_MS * 2 ** (made - 1))
}
