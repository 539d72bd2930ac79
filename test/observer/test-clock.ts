import { setImmediate as turn } from 'node:timers/promises'

import type { Clock } from '../../src/observer/clock.ts'

export interface TestClock {
  readonly clock: Clock
  /** Lets everything happen that needs no time to pass. */
  readonly settle: () => Promise<void>
  /** Lets time pass: fires what is due, in order, and settles after each. */
  readonly advance: (ms: number) => Promise<void>
  /** Milliseconds that have passed. */
  readonly elapsed: () => number
  /** Timers that wait. */
  readonly timers: () => number
}

interface Timer {
  readonly at: number
  readonly fire: () => void
}

/** A clock that stands still unless told; its wall clock starts at `start`. `random` is a half. */
export function createTestClock(start = Date.UTC(2026, 0, 1)): TestClock {
  let elapsed = 0
  let waiting: (() => void)[] = []
  const timers = new Set<Timer>()
  const after = (ms: number, fire: () => void): (() => void) => {
    const timer = { at: elapsed + ms, fire }
    timers.add(timer)
    return () => timers.delete(timer)
  }
  const settle = async (): Promise<void> => {
    do {
      const now = waiting
      waiting = []
      for (const callback of now) callback()
      await turn()
    } while (waiting.length > 0)
  }
  return {
    clock: {
      now: () => start + elapsed,
      // Not from 0, which some take for no time at all.
      monotonic: () => 1000 + elapsed,
      random: () => 0.5,
      soon: callback => waiting.push(callback),
      after,
      sleep: async (ms, signal) => {
        signal.throwIfAborted()
        const { promise, resolve, reject } = Promise.withResolvers<void>()
        const cancel = after(ms, resolve)
        signal.addEventListener('abort', () => {
          cancel()
          reject(signal.reason)
        })
        await promise
      },
    },
    settle,
    advance: async ms => {
      const end = elapsed + ms
      await settle()
      for (;;) {
        const [next] = [...timers].toSorted((a, b) => a.at - b.at)
        if (!next || next.at > end) break
        elapsed = Math.max(elapsed, next.at)
        timers.delete(next)
        next.fire()
        await settle()
      }
      elapsed = end
    },
    elapsed: () => elapsed,
    timers: () => timers.size,
  }
}
