import { setTimeout as sleep } from 'node:timers/promises'

import type { Instant } from '../core/objects.ts'

/** Time and chance as this room needs them; a test hands in its own. */
export interface Clock {
  /** The wall clock: for what is compared with Kubernetes' and Prefect's timestamps. It may jump. */
  readonly now: () => Instant
  /** Milliseconds that only ever grow: for measuring how long something took. */
  readonly monotonic: () => number
  /** Rejects as soon as the signal aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** Calls back once, after so many milliseconds; what it returns calls that off. */
  readonly after: (ms: number, callback: () => void) => () => void
  /** Calls back when the event loop has seen to everything else that waits. */
  readonly soon: (callback: () => void) => void
  /** From 0 up to, not including, 1. */
  readonly random: () => number
}

/** The machine's own. Its timers do not keep the process alive. */
export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, { signal, ref: false })
  },
  after: (ms, callback) => {
    const timer = setTimeout(callback, ms).unref()
    return () => {
      clearTimeout(timer)
    }
  },
  soon: callback => {
    setImmediate(callback)
  },
  random: Math.random,
}
