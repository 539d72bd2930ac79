import { setImmediate, setTimeout as sleep } from 'node:timers/promises'

import type { Instant } from '../core/objects.ts'

/** Time and chance as this room needs them; a test hands in its own. */
export interface Clock {
  /** The wall clock: for what people read. It may jump. */
  readonly now: () => Instant
  /** Milliseconds that only ever grow: for measuring how long something took. Stands still while a VM is suspended. */
  readonly monotonic: () => number
  /** Rejects as soon as the signal aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** Resolves when the event loop has seen to whatever else is due. */
  readonly turn: () => Promise<void>
  /** From 0 up to, not including, 1. */
  readonly random: () => number
}

export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    await sleep(ms, undefined, { signal })
  },
  turn: async () => {
    await setImmediate()
  },
  random: Math.random,
}
