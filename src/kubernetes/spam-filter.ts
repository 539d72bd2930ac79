import type { Clock } from './clock.ts'

/** Says whether one more Event about an object is one too many. */
export interface SpamFilter {
  readonly admits: (uid: string) => boolean
}

/** Source: client-go, `tools/record/events_cache.go`: 25 at once, and one more every 5 minutes. */
const BURST = 25
const REFILL_MS = 5 * 60 * 1000

/** A bucket of tokens for each object; one that would be full again is forgotten. */
export function createSpamFilter(clock: Pick<Clock, 'monotonic'>): SpamFilter {
  /** Oldest use first. */
  const buckets = new Map<string, { readonly tokens: number; readonly at: number }>()
  const tokensOf = (uid: string): number => {
    const bucket = buckets.get(uid)
    return bucket ? Math.min(BURST, bucket.tokens + (clock.monotonic() - bucket.at) / REFILL_MS) : BURST
  }
  return {
    admits: uid => {
      for (const old of buckets.keys()) {
        if (tokensOf(old) < BURST) break
        buckets.delete(old)
      }
      const tokens = tokensOf(uid)
      const admitted = tokens >= 1
      buckets.delete(uid)
      buckets.set(uid, { tokens: admitted ? tokens - 1 : tokens, at: clock.monotonic() })
      return admitted
    },
  }
}
