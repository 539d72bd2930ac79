import { isExpired, isTooLarge, KubernetesError } from '../http/errors.ts'

/** How a list or a watch ended. */
export interface Ending {
  /** Absent when the server ended the watch in order, which it does every few minutes. */
  readonly error?: unknown
  readonly livedMs: number
  readonly events: number
  /** The watch had begun right after a list. */
  readonly afterList: boolean
  /** Why the watch before ended, and how many in a row had ended so. */
  readonly before: { readonly reason: string; readonly times: number }
}

/** What to do next: where to go on, after which kind of wait, and a word for the metrics. */
export interface Recovery {
  readonly from: 'resourceVersion' | 'list'
  readonly reason: string
  readonly wait: 'none' | 'backoff' | 'slow'
}

/** A watch that lived shorter and brought nothing is a failure. Source: client-go, `VeryShortWatchError`. */
const SHORT_MS = 1000

/** How often a server may be behind before it is believed: it was restored, not late. */
const PATIENCE_WITH_TOO_LARGE = 3

const OVERLOADED = 429

/** Never gives up: every ending has a way on. */
export function recoveryFrom(ending: Ending): Recovery {
  const { error } = ending
  if (error === undefined) return closed(ending)
  if (isExpired(error))
    return { from: 'list', reason: 'expired', wait: ending.afterList ? 'backoff' : 'none' }
  if (isTooLarge(error)) return tooLarge(ending)
  if (!(error instanceof KubernetesError)) return { from: 'list', reason: 'unreadable', wait: 'backoff' }
  if (error.code === 'UnreadableBody') return { from: 'list', reason: 'unreadable', wait: 'backoff' }
  if (error.code === 'Timeout') return silent(ending)
  return answered(error)
}

function closed({ livedMs, events }: Ending): Recovery {
  const short = livedMs < SHORT_MS && events === 0
  return { from: 'resourceVersion', reason: short ? 'short' : 'closed', wait: short ? 'backoff' : 'none' }
}

function tooLarge({ before }: Ending): Recovery {
  const reason = 'too_large_resource_version'
  const restored = before.reason === reason && before.times >= PATIENCE_WITH_TOO_LARGE
  return { from: restored ? 'list' : 'resourceVersion', reason, wait: 'backoff' }
}

/**
 * A watch that was silent although it was new: no bookmark came for a resource version the server may never reach.
 * One that was restored from a backup accepts such a watch and says nothing (seen on 1.37).
 */
function silent({ before, events }: Ending): Recovery {
  const reason = 'silence'
  const deaf = events === 0 && before.reason === reason
  return { from: deaf ? 'list' : 'resourceVersion', reason, wait: 'backoff' }
}

function answered({ status }: KubernetesError): Recovery {
  if (status === undefined) return { from: 'resourceVersion', reason: 'network', wait: 'backoff' }
  if (status === OVERLOADED) return { from: 'resourceVersion', reason: 'throttled', wait: 'backoff' }
  // A question the server refuses is refused again until somebody changes the permissions.
  if (status >= 400 && status < 500)
    return { from: 'resourceVersion', reason: `status_${status}`, wait: 'slow' }
  return { from: 'resourceVersion', reason: 'server_error', wait: 'backoff' }
}
