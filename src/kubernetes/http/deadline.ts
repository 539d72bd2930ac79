/** An abort signal that also fires by itself. `clear` must be called when the work has ended. */
export interface Deadline {
  readonly signal: AbortSignal
  /** Starts the time anew. */
  readonly arm: () => void
  /** Stops the time; the signal still follows its parent. */
  readonly disarm: () => void
  readonly expired: () => boolean
  readonly clear: () => void
}

/**
 * A signal that follows `parent` and fires `ms` after it was last armed, which it is at first. `AbortSignal.any`
 * would do for a fixed time, but a signal that lives as long as the process remembers every one made from it; this
 * one is forgotten with `clear`.
 */
export function createDeadline(parent: AbortSignal, ms: number): Deadline {
  const controller = new AbortController()
  const state = { expired: false, timer: undefined as NodeJS.Timeout | undefined }
  const follow = (): void => {
    controller.abort(parent.reason)
  }
  const expire = (): void => {
    state.expired = true
    controller.abort(new Error(`nothing came within ${ms} ms`))
  }
  const disarm = (): void => {
    clearTimeout(state.timer)
  }
  const arm = (): void => {
    disarm()
    state.timer = setTimeout(expire, ms)
  }
  if (parent.aborted) follow()
  else parent.addEventListener('abort', follow, { once: true })
  arm()
  return {
    signal: controller.signal,
    arm,
    disarm,
    expired: () => state.expired,
    clear: () => {
      disarm()
      parent.removeEventListener('abort', follow)
    },
  }
}
