/** What work on a key may ask for: to look again after so many milliseconds. */
export interface WorkResult {
  readonly afterMs?: number
}

/** Works on a key. What it throws puts the key back, later each time; where that has a `retryAfterMs`, then. */
export type Worker<K> = (key: K, signal: AbortSignal) => Promise<WorkResult | undefined | void>

/** How work on a key ended. */
export type Outcome = { readonly kind: 'done'; readonly afterMs: number | undefined } | Failed

/** Work that threw, and when to try again where the error says so. */
export interface Failed {
  readonly kind: 'failed'
  readonly error: unknown
  readonly retryAfterMs: number | undefined
}

/** Does work and waits for its end; never rejects. A result that cannot be followed is a failure. */
export async function outcomeOf(work: () => ReturnType<Worker<never>>): Promise<Outcome> {
  try {
    const result = await work()
    return { kind: 'done', afterMs: result?.afterMs === undefined ? undefined : duration(result.afterMs) }
  } catch (error) {
    return { kind: 'failed', error, retryAfterMs: retryAfterMsOf(error) }
  }
}

/** Milliseconds as a timer can count them: of what is not a number it would make "at once", again and again. */
export function duration(ms: number): number {
  if (Number.isNaN(ms)) throw new RangeError('a key cannot wait for NaN milliseconds: see who computed that')
  return ms
}

function retryAfterMsOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('retryAfterMs' in error)) return undefined
  const { retryAfterMs } = error
  return typeof retryAfterMs === 'number' && Number.isFinite(retryAfterMs) ? retryAfterMs : undefined
}
