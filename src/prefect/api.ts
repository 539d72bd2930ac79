import createClient from 'openapi-fetch'

import type { Asked } from './errors.ts'
import { PrefectError } from './errors.ts'
import type { paths } from './openapi.d.ts'
import type { Call, Sender } from './sender.ts'

/** What every operation of this room works with: typed requests, and the sender each of them goes through. */
export interface Api {
  readonly http: ReturnType<typeof createClient<paths>>
  readonly send: Sender
}

/** Paths are kept to the letter: Prefect answers a slash too many or too few with a redirect. */
export const createApi = (apiUrl: string, send: Sender): Api => ({
  http: createClient<paths>({ baseUrl: apiUrl }),
  send,
})

/** The observer's reads, which may always be repeated. */
export const reading = (operation: string, signal: AbortSignal, flowRunId?: string): Call => ({
  operation,
  signal,
  priority: 'observer',
  repeat: 'always',
  ...(flowRunId === undefined ? {} : { flowRunId }),
})

interface Result {
  readonly data?: unknown
  readonly error?: unknown
  readonly response: Response
}

const ADVICE: Readonly<Record<number, string>> = {
  401: 'check PREFECT_API_KEY or PREFECT_API_AUTH_STRING',
  403: 'check what PREFECT_API_KEY is allowed to do, and PREFECT_CLIENT_CUSTOM_HEADERS',
}

/**
 * Whether a 404 is about the path and not about the thing asked for: Prefect says exactly this for an unknown
 * path and names an object that does not exist; a proxy says something that is no JSON. The difference matters:
 * a wrong URL must not read as "there is no such run".
 */
const isNoRoute = (error: unknown): boolean =>
  typeof error !== 'object' || JSON.stringify(error) === '{"detail":"Not Found"}'

const isRedirect = (status: number): boolean => status >= 300 && status < 400

const adviceFor = ({ error, response: { status } }: Result): string => {
  if (isRedirect(status) || (status === 404 && isNoRoute(error))) return 'check PREFECT_API_URL'
  return ADVICE[status] ?? 'this is a mistake of prefect-lifeguard, or a Prefect it does not know yet'
}

/** Enough of Prefect's explanation for a log line. */
const EXPLANATION_LENGTH = 300

const explanationOf = (error: unknown): string =>
  (typeof error === 'string' ? error : JSON.stringify(error)).slice(0, EXPLANATION_LENGTH)

const refusal = (asked: Asked, result: Result): PrefectError => {
  const { status } = result.response
  return new PrefectError(
    { ...asked, status },
    `answered ${status} ${explanationOf(result.error)}: ${adviceFor(result)}`,
  )
}

/** The body of a successful answer, unknown until it is parsed; throws `PrefectError` for any other. */
export const dataOf = (asked: Asked, result: Result): unknown => {
  if (!result.response.ok) throw refusal(asked, result)
  return result.data
}

/** As `dataOf`, and undefined where Prefect says that the thing asked for does not exist. */
export const dataIfFound = (asked: Asked, result: Result): unknown => {
  if (result.response.status === 404 && !isNoRoute(result.error)) return undefined
  return dataOf(asked, result)
}
