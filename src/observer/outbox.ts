import type { Instant } from '../core/objects.ts'

/** A line for a flow run's logs; `level` is Python's: 20 info, 30 warning, 40 error. */
export interface RunLog {
  readonly flowRunId: string
  readonly level: number
  readonly message: string
  readonly timestamp: Instant
}

type Resource = Readonly<Record<string, string>> & { readonly 'prefect.resource.id': string }

/** An event in Prefect; its id is made of what it tells, so that telling twice is telling once. */
export interface RunEvent {
  readonly id: string
  readonly occurred: Instant
  readonly event: string
  readonly resource: Resource
  readonly related: readonly Resource[]
  readonly payload: Readonly<Record<string, unknown>>
}

export interface OutboxDeps {
  readonly sendLogs: (logs: readonly RunLog[], signal: AbortSignal) => Promise<void>
  readonly emitEvents: (events: readonly RunEvent[], signal: AbortSignal) => Promise<void>
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>
  /** Something could not be sent; how much waits, and how much had to be dropped so far. */
  readonly onTrouble: (trouble: {
    readonly what: string
    readonly waiting: number
    readonly dropped: number
    readonly err: unknown
  }) => void
}

export interface Outbox {
  readonly log: (entry: RunLog) => void
  readonly event: (event: RunEvent) => void
  readonly waiting: () => number
  /** Sends in batches until the signal aborts, then once more what is left. */
  readonly run: (signal: AbortSignal) => Promise<void>
}

/** Deaths come in bursts: one request for all that is said within this time. */
const INTERVAL_MS = 500

/** What could not be sent is tried again later each time, up to this: Prefect has other worries then. */
const LONGEST_INTERVAL_MS = 30_000

/** A minute of a bad day in memory; beyond it the oldest lines go, counted, for the state message has the reason. */
const CAPACITY = 10_000

/** Room is made for so many at once: to move all that waits with each line would cost more than the line. */
const ROOM = 1000

/** How long the last words may take when the process stops. */
const LAST_WORDS_MS = 3000

/** Collects what is told to Prefect besides states, and sends it in batches: nothing waits for it. */
export function createOutbox(deps: OutboxDeps): Outbox {
  const logs = createLane(deps, { what: 'logs', send: deps.sendLogs })
  const events = createLane(deps, { what: 'events', send: deps.emitEvents })
  const flush = async (signal: AbortSignal): Promise<boolean> => {
    const sent = await Promise.all([logs.flush(signal), events.flush(signal)])
    return sent.every(Boolean)
  }
  return {
    log: logs.add,
    event: events.add,
    waiting: () => logs.waiting() + events.waiting(),
    run: async signal => {
      let interval = INTERVAL_MS
      while (!signal.aborted) {
        // oxlint-disable-next-line no-await-in-loop -- one batch after the other, in order
        await deps.sleep(interval, signal).catch(() => undefined)
        // oxlint-disable-next-line no-await-in-loop -- as above
        const isSent = signal.aborted || (await flush(signal))
        interval = isSent ? INTERVAL_MS : Math.min(interval * 2, LONGEST_INTERVAL_MS)
      }
      await flush(AbortSignal.timeout(LAST_WORDS_MS))
    },
  }
}

interface Lane<T> {
  readonly add: (item: T) => void
  readonly waiting: () => number
  /** Whether all that waited was sent. Never rejects. */
  readonly flush: (signal: AbortSignal) => Promise<boolean>
}

function createLane<T>(
  { onTrouble }: OutboxDeps,
  { what, send }: { what: string; send: (items: readonly T[], signal: AbortSignal) => Promise<void> },
): Lane<T> {
  let items: T[] = []
  let dropped = 0
  const makeRoom = (): void => {
    if (items.length > CAPACITY) dropped += items.splice(0, items.length - CAPACITY + ROOM).length
  }
  return {
    add: item => {
      items.push(item)
      makeRoom()
    },
    waiting: () => items.length,
    flush: async signal => {
      if (items.length === 0) return true
      const batch = items
      items = []
      try {
        await send(batch, signal)
        return true
      } catch (err) {
        if (signal.aborted || isWorthRepeating(err)) items = [...batch, ...items]
        else dropped += batch.length
        makeRoom()
        onTrouble({ what, waiting: items.length, dropped, err })
        return false
      }
    },
  }
}

/** Whoever was only too busy says when to come back; what Prefect refuses it would refuse again, with all behind it. */
const isWorthRepeating = (err: unknown): boolean => err instanceof Error && 'retryAfterMs' in err
