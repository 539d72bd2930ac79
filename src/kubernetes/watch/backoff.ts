import type { Clock } from '../clock.ts'

/** Waits that grow with every failure. */
export interface Backoff {
  /** How long to wait now, at least `atLeastMs`. */
  readonly next: (atLeastMs: number) => number
}

/** Source of the numbers: client-go, `tools/cache/reflector.go`. */
const FIRST_MS = 800
const MOST_MS = 30_000
const FORGET_MS = 120_000

/**
 * Doubling from 0.8 s to 30 s, each drawn at random below its bound so that replicas do not return in step;
 * forgotten when nothing failed for two minutes.
 */
export function createBackoff(clock: Pick<Clock, 'monotonic' | 'random'>): Backoff {
  let bound = FIRST_MS
  let quietSince = -Infinity
  return {
    next: atLeastMs => {
      if (clock.monotonic() - quietSince > FORGET_MS) bound = FIRST_MS
      const wait = atLeastMs + clock.random() * bound
      bound = Math.min(bound * 2, MOST_MS)
      quietSince = clock.monotonic() + wait
      return wait
    },
  }
}
