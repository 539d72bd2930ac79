import type { Clock } from './clock.ts'

/** Admission holds up the creation of a pod and waits for nobody; everything else is the observer's. */
export type Priority = 'admission' | 'observer'

type Turn = { readonly taken: true } | { readonly taken: false; readonly retryAfterMs: number }

export interface RateLimit {
  /** Waits for a turn, at most `maxWaitMs`; a turn that would come later is refused at once and not used up. */
  readonly take: (priority: Priority, maxWaitMs: number, signal: AbortSignal) => Promise<Turn>
}

interface Bucket {
  /** Milliseconds until a token is there for the next one who asks. */
  readonly waitMs: () => number
  readonly take: () => void
  readonly giveBack: () => void
}

interface BucketSize {
  readonly perMinute: number
  readonly burst: number
}

/** A token bucket that may be overdrawn: who takes a token that is not there yet has a place in the queue. */
const createBucket = ({ perMinute, burst }: BucketSize, now: () => number): Bucket => {
  const perMs = perMinute / 60_000
  let tokens = burst
  let filledAt = now()
  const fill = (): void => {
    const at = now()
    tokens = Math.min(burst, tokens + Math.max(0, at - filledAt) * perMs)
    filledAt = at
  }
  return {
    waitMs: () => {
      fill()
      return Math.max(0, Math.ceil((1 - tokens) / perMs))
    },
    take: () => {
      fill()
      tokens -= 1
    },
    giveBack: () => {
      tokens = Math.min(burst, tokens + 1)
    },
  }
}

/** Ten seconds' worth may go out at once; at least a few, so that a low limit does not crawl from the start. */
const burstOf = (perMinute: number): number => Math.max(4, Math.ceil(perMinute / 6))

/** A look-up of admission asks for up to 50 runs at once, so a fifth of the requests serves it well. */
const ADMISSION_SHARE = 0.2

/**
 * One rate limit for the process in two buckets, so that a storm of deaths cannot use up what admission needs.
 * Admission may also take what the observer leaves lying, never the other way round. No library: those that are
 * alive and typed (limiter, p-queue) know neither a reserve nor a signal.
 */
export const createRateLimit = (requestsPerMinute: number, clock: Clock): RateLimit => {
  const sized = (perMinute: number): Bucket =>
    createBucket({ perMinute, burst: burstOf(perMinute) }, clock.now)
  const admission = sized(requestsPerMinute * ADMISSION_SHARE)
  const observer = sized(requestsPerMinute * (1 - ADMISSION_SHARE))

  const bucketFor = (priority: Priority): Bucket => {
    if (priority === 'observer') return observer
    return admission.waitMs() > 0 && observer.waitMs() === 0 ? observer : admission
  }

  return {
    take: async (priority, maxWaitMs, signal) => {
      const bucket = bucketFor(priority)
      const waitMs = bucket.waitMs()
      if (waitMs > maxWaitMs) return { taken: false, retryAfterMs: waitMs }
      bucket.take()
      if (waitMs === 0) return { taken: true }
      try {
        await clock.sleep(waitMs, signal)
      } catch (error) {
        bucket.giveBack()
        throw error
      }
      return { taken: true }
    },
  }
}
