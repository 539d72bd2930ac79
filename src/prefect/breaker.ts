import type { Instant } from '../core/objects.ts'

/**
 * Closed: Prefect answers. Open: it does not, nobody asks. Half-open: one request is out to see. The numbers of
 * the gauge `lifeguard_prefect_breaker_state`.
 */
export const BREAKER_STATES = { closed: 0, halfOpen: 1, open: 2 } as const

export type BreakerState = keyof typeof BREAKER_STATES

export interface Breaker {
  /** Milliseconds to wait; 0 when a request may go out now. Changes nothing. */
  readonly waitMs: () => number
  /** As `waitMs`, and where it is 0 the request counts as under way: one of the three below must follow. */
  readonly enter: () => number
  readonly succeeded: () => void
  /** A server that said how long it wants to be left alone (`Retry-After`) is left alone at once. */
  readonly failed: (trouble: { readonly why: string; readonly retryAfterMs?: number }) => void
  /** The caller went away before there was an answer: nothing was learned. */
  readonly abandoned: () => void
  /** Why the last request failed, for those who are not let through. */
  readonly why: () => string
}

export interface BreakerDeps {
  readonly now: () => Instant
  readonly random: () => number
  readonly onChange: (state: BreakerState) => void
}

/** A busy Prefect server on sqlite answers 1 to 2 % of writes with 503 (measured): five in a row is an outage. */
const FAILURES_TO_OPEN = 5
const FIRST_OPEN_MS = 1_000
const LONGEST_OPEN_MS = 30_000
/** Timers may fire this much before their time. */
const TIMER_SLACK_MS = 2
/** What a caller is told while another one's request is out to see. */
const PROBE_MS = 1_000

const remaining = (ms: number): number => (ms > TIMER_SLACK_MS ? Math.ceil(ms) : 0)

/** How long the breaker stays open, doubling from one opening to the next, until there was a success. */
const createOpenTimes = (random: () => number) => {
  let openings = 0
  return {
    next: (): number => {
      const longest = Math.min(LONGEST_OPEN_MS, FIRST_OPEN_MS * 2 ** openings)
      openings += 1
      // Half of it certain, half by chance: replicas do not come back in step.
      return longest * (0.5 + random() / 2)
    },
    reset: (): void => {
      openings = 0
    },
  }
}

/** The state, of which every change is told. */
const createSwitch = (onChange: (state: BreakerState) => void) => {
  let state: BreakerState = 'closed'
  return {
    is: (which: BreakerState): boolean => state === which,
    become: (next: BreakerState): void => {
      if (state === next) return
      state = next
      onChange(next)
    },
  }
}

/**
 * A circuit breaker: an outage costs one request per opening, and callers are told at once instead of waiting.
 * No library: cockatiel lets everybody wait for the probe, opossum wraps a single function and keeps its own
 * clock, neither knows `Retry-After`.
 */
export const createBreaker = ({ now, random, onChange }: BreakerDeps): Breaker => {
  const { is, become } = createSwitch(onChange)
  const openTimes = createOpenTimes(random)
  let failures = 0
  let openUntil = 0
  let lastWhy = ''

  const open = (forMs: number): void => {
    openUntil = Math.max(openUntil, now() + forMs)
    become('open')
  }
  const waitMs = (): number => {
    if (is('halfOpen')) return PROBE_MS
    return remaining(openUntil - now())
  }
  return {
    waitMs,
    enter: () => {
      const wait = waitMs()
      if (wait === 0 && is('open')) become('halfOpen')
      return wait
    },
    succeeded: () => {
      failures = 0
      openUntil = 0
      openTimes.reset()
      become('closed')
    },
    failed: ({ why, retryAfterMs }) => {
      lastWhy = why
      if (retryAfterMs !== undefined) return open(retryAfterMs)
      failures += 1
      // What was under way when the breaker opened tells nothing new.
      if (is('open') || (is('closed') && failures < FAILURES_TO_OPEN)) return
      open(openTimes.next())
    },
    abandoned: () => {
      if (is('halfOpen')) become('open')
    },
    why: () => lastWhy,
  }
}
