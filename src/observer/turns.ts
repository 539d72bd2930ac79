/** Does work when its turn has come; rejects as the work does, or with the signal's reason where that aborted before. */
export type InTurn = <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T>

/** So many at a time; the others wait, first come, first served. */
export function createTurns(atOnce: number): InTurn {
  const waiting: (() => void)[] = []
  let free = atOnce
  const begin = async (): Promise<void> => {
    if (free > 0) free -= 1
    else await new Promise<void>(resolve => void waiting.push(resolve))
  }
  const end = (): void => {
    const next = waiting.shift()
    if (next) next()
    else free += 1
  }
  return async (work, signal) => {
    await begin()
    try {
      signal?.throwIfAborted()
      return await work()
    } finally {
      end()
    }
  }
}
