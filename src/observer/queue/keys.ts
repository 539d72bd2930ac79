/** A key handed to a worker: since when it is there, and how long it had waited. */
export interface Taken<K> {
  readonly key: K
  readonly since: number
  readonly waitedMs: number
}

/**
 * Who waits for a worker and who is with one: the heart of client-go's work queue (`util/workqueue/queue.go`). A key
 * waits once however often it is added; while it is worked on it is not handed out again, and if it was added
 * meanwhile it waits anew as soon as that is done.
 */
export interface Keys<K> {
  /** Whether that was news: false when it waits already. */
  readonly add: (key: K) => boolean
  readonly has: (key: K) => boolean
  /** The key that came first, which is now being worked on; `undefined` when none waits. */
  readonly take: () => Taken<K> | undefined
  /** Work on a key has ended; returns how long it took, in milliseconds. */
  readonly done: (taken: Taken<K>) => number
  /** Forgets the keys that wait. */
  readonly clear: () => void
  /** Keys that wait or are being worked on. */
  readonly size: () => number
  /** Keys that wait, those being worked on that were added meanwhile included. */
  readonly waiting: () => number
  readonly running: () => number
  /** How long each waiting key has waited, in milliseconds. */
  readonly waits: () => readonly number[]
  /** How long each key being worked on has been, in milliseconds. */
  readonly works: () => readonly number[]
}

/** `now` is a clock that only grows, in milliseconds. */
export function createKeys<K>(now: () => number): Keys<K> {
  const ready = new Map<K, number>()
  const running = new Map<K, number>()
  const again = new Map<K, number>()
  const next = createNext(ready)
  return {
    add: key => {
      const queue = running.has(key) ? again : ready
      if (queue.has(key)) return false
      queue.set(key, now())
      return true
    },
    has: key => ready.has(key) || running.has(key),
    take: () => {
      const entry = next()
      if (!entry) return undefined
      const [key, addedAt] = entry
      const since = now()
      ready.delete(key)
      running.set(key, since)
      return { key, since, waitedMs: since - addedAt }
    },
    done: ({ key, since }) => {
      running.delete(key)
      const addedAt = again.get(key)
      again.delete(key)
      if (addedAt !== undefined) ready.set(key, addedAt)
      return now() - since
    },
    clear: () => {
      ready.clear()
      again.clear()
    },
    size: () => ready.size + running.size,
    waiting: () => ready.size + again.size,
    running: () => running.size,
    waits: () => [...ready.values(), ...again.values()].map(since => now() - since),
    works: () => [...running.values()].map(since => now() - since),
  }
}

/**
 * The first entry of a map whose first entries are deleted one by one. A new iterator would walk over the holes of
 * all that were deleted before, which makes a long queue quadratic; this one stays where it is.
 */
function createNext<K>(map: ReadonlyMap<K, number>): () => readonly [K, number] | undefined {
  let entries = map.entries()
  return () => {
    const next = entries.next()
    if (!next.done) return next.value
    entries = map.entries()
    return entries.next().value
  }
}
