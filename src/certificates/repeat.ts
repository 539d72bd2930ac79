import { setTimeout as sleep } from 'node:timers/promises'

/** Ends early, and as quietly, when told to stop. */
export const pause = (ms: number, signal: AbortSignal): Promise<void> =>
  sleep(ms, undefined, { signal }).catch(() => undefined)

/** Does the work again and again, `everyMs` after it was last done, until told to stop. The first time has been done by the caller. */
export async function repeat(
  work: (signal: AbortSignal) => Promise<void>,
  everyMs: number,
  signal: AbortSignal,
): Promise<void> {
  await pause(everyMs, signal)
  while (!signal.aborted) {
    // oxlint-disable-next-line no-await-in-loop -- one after the other
    await work(signal)
    // oxlint-disable-next-line no-await-in-loop -- as above
    await pause(everyMs, signal)
  }
}
