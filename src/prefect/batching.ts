/** Runs `act` after so many milliseconds unless the returned function is called first. */
export type After = (ms: number, act: () => void) => () => void

export const systemAfter: After = (ms, act) => {
  const timer = setTimeout(act, ms)
  return () => {
    clearTimeout(timer)
  }
}

export interface BatchingDeps<T> {
  /** One request for several ids, the answers in their order; where it fails, all who asked are told. An answer may still be to come. */
  readonly ask: (ids: readonly string[]) => Promise<readonly (T | Promise<T>)[]>
  /** Ids per request at most. */
  readonly most: number
  readonly after: After
  readonly now: () => number
}

interface Batch<T> {
  readonly openedAt: number
  readonly ids: string[]
  readonly waiting: PromiseWithResolvers<T>[]
  cancel: () => void
}

/** How long one waits for company while nobody else does. Whoever asks one after the other does not notice. */
const ALONE_MS = 5

/**
 * Whoever comes while another one waits or is being answered belongs to a burst: more are coming, and nobody is held
 * up by waiting for them. A busy API server makes 200 Jobs a second; at 5 ms nearly each would cost a request of its
 * own. So the batch stays open until there is such a pause, ...
 */
const PAUSE_MS = 50

/** ... or for this long: a quarter of what admission has for a look-up (`LIFEGUARD_LOOKUP_DEADLINE`). */
const LONGEST_MS = 225

/** Asks for ids one by one, answered by as few requests as that takes; the same id twice is asked twice. */
export const createBatching = <T>(deps: BatchingDeps<T>): ((id: string) => Promise<T>) => {
  const { ask, most, after, now } = deps
  let open: Batch<T> | undefined
  let underWay = 0

  const answer = async ({ ids, waiting }: Batch<T>): Promise<void> => {
    try {
      const answers = await ask(ids)
      for (const [index, one] of answers.entries()) waiting[index]?.resolve(one)
    } catch (error) {
      for (const { reject } of waiting) reject(error)
    } finally {
      underWay -= ids.length
    }
  }
  const send = (batch: Batch<T>): void => {
    batch.cancel()
    if (open === batch) open = undefined
    void answer(batch)
  }
  const sendLater = (batch: Batch<T>): void => {
    batch.cancel()
    const pause = underWay === 1 ? ALONE_MS : PAUSE_MS
    const ms = Math.max(0, Math.min(pause, batch.openedAt + LONGEST_MS - now()))
    batch.cancel = after(ms, () => {
      send(batch)
    })
  }
  return id => {
    open ??= { openedAt: now(), ids: [], waiting: [], cancel: () => {} }
    const one = Promise.withResolvers<T>()
    open.ids.push(id)
    open.waiting.push(one)
    underWay += 1
    if (open.ids.length === most) send(open)
    else sendLater(open)
    return one.promise
  }
}
