/** How soon keys that failed come back, each by itself and all together. */
export interface RetryLimitOptions {
  /** The first wait of a key; each further failure doubles it. */
  readonly baseDelayMs: number
  readonly maxDelayMs: number
  /** All keys together come back this often, after a burst. */
  readonly overall: { readonly perSecond: number; readonly burst: number }
  /** Milliseconds that only ever grow. */
  readonly now: () => number
}

/** client-go's `DefaultTypedControllerRateLimiter`: the longer of a key's own back-off and an overall token bucket. */
export interface RetryLimit<K> {
  /** How long the key has to wait after one more failure, in milliseconds. */
  readonly failed: (key: K) => number
  /** How long a key has to wait at least that was told by others when to come back, in milliseconds. */
  readonly told: (ms: number) => number
  /** The key did well: its next failure is its first. */
  readonly forget: (key: K) => void
  readonly size: () => number
  readonly clear: () => void
}

/** Nothing is kept for a key that was forgotten. */
export function createRetryLimit<K>(options: RetryLimitOptions): RetryLimit<K> {
  const { baseDelayMs, maxDelayMs } = options
  const failures = new Map<K, number>()
  const reserve = createBucket(options)
  return {
    failed: key => {
      const before = failures.get(key) ?? 0
      failures.set(key, before + 1)
      return Math.max(Math.min(maxDelayMs, baseDelayMs * 2 ** before), reserve())
    },
    told: ms => Math.max(ms, baseDelayMs, reserve()),
    forget: key => {
      failures.delete(key)
    },
    size: () => failures.size,
    clear: () => {
      failures.clear()
    },
  }
}

/** Takes a token, be it one that is yet to come, and tells how long it takes until it is there. */
function createBucket({
  overall: { perSecond, burst },
  now,
}: Pick<RetryLimitOptions, 'overall' | 'now'>): () => number {
  const perMs = perSecond / 1000
  let tokens = burst
  let filledAt = now()
  return () => {
    const at = now()
    tokens = Math.min(burst, tokens + (at - filledAt) * perMs) - 1
    filledAt = at
    return Math.max(0, Math.ceil(-tokens / perMs))
  }
}
