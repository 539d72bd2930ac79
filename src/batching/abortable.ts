/**
 * The promise's outcome, or the signal's reason when it aborts first. What is shared by several callers goes on
 * for the others.
 */
export const abortable = async <T>(promise: Promise<T>, signal: AbortSignal): Promise<T> => {
  if (signal.aborted) {
    // Nobody waits for it here; that it fails is no news.
    promise.catch(() => {})
    signal.throwIfAborted()
  }
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => {
    reject(signal.reason)
  }
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
