import type { Clock } from '../clock.ts'

/** What a timer can count; Node makes 1 ms of anything longer. Source: nodejs.org, timers, `setTimeout`. */
const LONGEST_MS = 2 ** 31 - 1

/** Keys that wait for their time, each once and with one timer. */
export interface Delays<K> {
  /** Of several times for one key the earliest counts. A time beyond 24 days is brought forward to that. */
  readonly add: (key: K, ms: number) => void
  readonly has: (key: K) => boolean
  readonly size: () => number
  readonly clear: () => void
}

interface Delay {
  readonly dueAt: number
  readonly cancel: () => void
}

/** `onDue` is called once per key when its time has come. */
export function createDelays<K>(
  clock: Pick<Clock, 'monotonic' | 'after'>,
  onDue: (key: K) => void,
): Delays<K> {
  const delays = new Map<K, Delay>()
  return {
    add: (key, ms) => {
      const dueAt = clock.monotonic() + ms
      const before = delays.get(key)
      if (before && before.dueAt <= dueAt) return
      before?.cancel()
      const cancel = clock.after(Math.min(ms, LONGEST_MS), () => {
        delays.delete(key)
        onDue(key)
      })
      delays.set(key, { dueAt, cancel })
    },
    has: key => delays.has(key),
    size: () => delays.size,
    clear: () => {
      for (const { cancel } of delays.values()) cancel()
      delays.clear()
    },
  }
}
