/** What was asked of Prefect, on which run: said in every error, log line and metric. */
export interface Asked {
  /** A constant name such as `readFlowRun`: the method of the client that asks. */
  readonly operation: string
  readonly flowRunId?: string
}

const subject = (asked: Asked): string =>
  asked.flowRunId === undefined ? asked.operation : `${asked.operation} of flow run ${asked.flowRunId}`

/** Prefect answered, and asking again would bring the same answer: a 4xx, or an answer that makes no sense. */
export class PrefectError extends Error {
  override readonly name = 'PrefectError'
  readonly status: number
  readonly operation: string
  readonly flowRunId: string | undefined

  constructor(asked: Asked & { readonly status: number }, message: string, options?: ErrorOptions) {
    super(`Prefect, ${subject(asked)}: ${message}`, options)
    this.status = asked.status
    this.operation = asked.operation
    this.flowRunId = asked.flowRunId
  }
}

/**
 * Prefect could not be asked now: down, overloaded, too slow, or the circuit breaker is open. Nothing is known
 * about whether a write was made. Ask again after `retryAfterMs`, from a fresh read.
 */
export class PrefectUnavailable extends Error {
  override readonly name = 'PrefectUnavailable'
  readonly retryAfterMs: number
  readonly operation: string
  readonly flowRunId: string | undefined

  constructor(asked: Asked & { readonly retryAfterMs: number }, message: string, options?: ErrorOptions) {
    super(`Prefect, ${subject(asked)}: ${message}; again in ${asked.retryAfterMs} ms`, options)
    this.retryAfterMs = asked.retryAfterMs
    this.operation = asked.operation
    this.flowRunId = asked.flowRunId
  }
}

/** What an error says; JavaScript lets anything be thrown. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
