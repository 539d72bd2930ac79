import type { Clock } from '../clock.ts'

/**
 * Objects handled at one go. Admission shares the event loop and has to wait for as long as they take: reading a pod
 * and telling of it costs some 40 µs, so a slice costs about as much as answering two reviews.
 */
export const SLICE = 50

/** Calls `handle` for each item, and lets the event loop turn before each slice. Throws once the signal has aborted. */
export async function inSlices<T>(
  items: Iterable<T>,
  handle: (item: T) => void,
  { clock, signal }: { readonly clock: Pick<Clock, 'turn'>; readonly signal: AbortSignal },
): Promise<void> {
  let handled = 0
  for (const item of items) {
    if (handled % SLICE === 0) {
      // oxlint-disable-next-line no-await-in-loop -- one slice after the other
      await clock.turn()
      signal.throwIfAborted()
    }
    handled += 1
    handle(item)
  }
}
