import { setTimeout as sleep } from 'node:timers/promises'

import type { Instant } from '../core/objects.ts'

/** Time as this room needs it; a test hands in its own. */
export interface Clock {
  readonly now: () => Instant
  /** Rejects with the signal's reason when it aborts first. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
}

export const systemClock: Clock = {
  now: Date.now,
  sleep: async (ms, signal) => {
    try {
      await sleep(ms, undefined, { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw error
    }
  },
}
