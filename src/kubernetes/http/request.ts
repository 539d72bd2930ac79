/** What every request says. */
export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** From the root, without the query: `/apis/batch/v1/jobs`. Names in it are escaped by the caller. */
  readonly path: string
  /** Parameters that are `undefined` are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  /** `application/json` unless told; a patch says here which kind it is. */
  readonly contentType?: string
  readonly accept?: string
}

export interface ApiRequest<T> extends Call {
  readonly signal: AbortSignal
  /** For one attempt, from asking to the last byte. */
  readonly timeoutMs?: number
  /** Attempts in all: 4 for a GET, else 1. More only where a second time means the same as the first. */
  readonly attempts?: number
  /** Gets the JSON that came, or the text where it was none. */
  readonly parse: (body: unknown) => T
}

export interface ApiStreamRequest extends Pick<Call, 'path' | 'query' | 'accept'> {
  readonly signal: AbortSignal
  /** How long nothing may arrive before the stream breaks off with the code `Timeout`. */
  readonly silenceMs: number
}
