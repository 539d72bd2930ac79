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
  /** Something could not be sent and waits, or had to be dropped because too much waits. */
  readonly onTrouble: (trouble: {
    readonly what: string
    readonly waiting: number
    readonly err?: unknown
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

/** A minute of a bad day in memory; beyond it the oldest lines go, counted, for the state message has the reason. */
const CAPACITY = 10_000

/** How long the last words may take when the process stops. */
const LAST_WORDS_MS = 3000

/** Collects what is told to Prefect besides states, and sends it in batches: nothing waits for it. */
export function createOutbox(deps: OutboxDeps): Outbox {
  const logs = createLane(deps, { what: 'logs', send: deps.sendLogs })
  const events = createLane(deps, { what: 'events', send: deps.emitEvents })
  const flush = async (signal: AbortSignal): Promise<void> => {
    await Promise.all([logs.flush(signal), events.flush(signal)])
  }
  return {
    log: logs.add,
    event: events.add,
    waiting: () => logs.waiting() + events.waiting(),
    run: async signal => {
      while (!signal.aborted) {
        // oxlint-disable-next-line no-await-in-loop -- one batch after the other, in order
        await deps.sleep(INTERVAL_MS, signal).catch(() => undefined)
        // oxlint-disable-next-line no-await-in-loop -- as above
        await flush(signal.aborted ? AbortSignal.timeout(LAST_WORDS_MS) : signal)
      }
    },
  }
}

interface Lane<T> {
  readonly add: (item: T) => void
  readonly waiting: () => number
  readonly flush: (signal: AbortSignal) => Promise<void>
}

function createLane<T>(
  { onTrouble }: OutboxDeps,
  { what, send }: { what: string; send: (items: readonly T[], signal: AbortSignal) => Promise<void> },
): Lane<T> {
  let items: readonly T[] = []
  const keep = (all: readonly T[]): void => {
    if (all.length > CAPACITY) onTrouble({ what: `${what} dropped`, waiting: all.length })
    items = all.slice(-CAPACITY)
  }
  return {
    add: item => {
      keep([...items, item])
    },
    waiting: () => items.length,
    flush: async signal => {
      if (items.length === 0) return
      const batch = items
      items = []
      try {
        await send(batch, signal)
      } catch (err) {
        keep([...batch, ...items])
        onTrouble({ what, waiting: items.length, err })
      }
    },
  }
}
