import type { Instant } from '../../core/objects.ts'
import type { Clock } from '../clock.ts'

/** What time it is for the apiserver, whatever this machine's clock says. */
export interface ServerTime {
  readonly now: () => Instant
  /** An answer came: its `Date` header, and when its request was sent, by the monotonic clock. */
  readonly heard: (date: string | undefined, sentAt: number) => void
}

/** A `Date` header has whole seconds, cut off. */
const RESOLUTION_MS = 1_000

/**
 * How old something is, is told from a time that the apiserver wrote. By a clock of our own that is minutes ahead every
 * grace would be over before it began, and a live run could be called dead.
 *
 * The server wrote `Date` between our sending and our receiving, so its time at either is known within bounds. What
 * we believe is moved only as far as they prove it wrong: a slow answer proves little and moves nothing. Between two
 * answers the monotonic clock counts, which nobody sets; where it stands still (a VM that sleeps), we are late until the
 * next answer, which comes with the lease, every two seconds. Before the first answer this machine's clock is believed.
 */
export function createServerTime(clock: Pick<Clock, 'now' | 'monotonic'>): ServerTime {
  let offset = clock.now() - clock.monotonic()
  return {
    now: () => Math.round(clock.monotonic() + offset),
    heard: (date, sentAt) => {
      const told = Date.parse(date ?? '')
      if (Number.isNaN(told)) return
      const least = told - clock.monotonic()
      const most = told + RESOLUTION_MS - sentAt
      offset = Math.min(Math.max(offset, least), most)
    },
  }
}
