import { z } from 'zod'

import { abortable } from '../batching/abortable.ts'
import type { Exchange, HttpAnswer, HttpRequest } from './connection.ts'
import { PrefectError } from './errors.ts'
import { troubleOfAnswer } from './trouble.ts'

export interface CsrfDeps {
  readonly exchange: Exchange
  readonly apiUrl: string
  /** Unique per process: each token asked for makes the client's earlier ones invalid. */
  readonly clientId: string
  readonly now: () => number
}

interface Token {
  readonly headers: Readonly<Record<string, string>>
  readonly expiresAt: number
}

const TOKEN = z.object({ token: z.string(), expiration: z.iso.datetime({ offset: true }) })

/** A token lives for an hour by default; a request on its way, and clocks that differ, may take this long. */
const EXPIRY_MARGIN_MS = 30_000
const TOKEN_DEADLINE_MS = 5_000

/** The three refusals of Prefect's CSRF middleware: missing token, missing client identifier, invalid token. */
const isCsrfRefusal = ({ status, text }: HttpAnswer): boolean =>
  status === 403 && (text.includes('CSRF') || text.includes('Missing client identifier'))

/** 422 or 404: the protection is off by now, or the server an older one. */
const isOff = ({ status }: HttpAnswer): boolean => status === 422 || status === 404

const createTokenSource = ({ exchange, apiUrl, clientId, now }: CsrfDeps) => {
  const asked = { operation: 'createCsrfToken' }
  const url = `${apiUrl}/csrf-token?client=${clientId}`
  return async (): Promise<Token | undefined> => {
    const deadline = AbortSignal.timeout(TOKEN_DEADLINE_MS)
    const answer = await exchange({ ...asked, method: 'GET', url, headers: {} }, deadline)
    if (isOff(answer)) return undefined
    const trouble = troubleOfAnswer(answer, now())
    if (trouble !== undefined) throw new Error(`asking for a CSRF token: ${trouble.why}`)
    if (answer.status !== 200) throw new PrefectError({ ...asked, status: answer.status }, answer.text)
    const { token, expiration } = TOKEN.parse(JSON.parse(answer.text))
    return {
      headers: { 'prefect-csrf-token': token, 'prefect-csrf-client': clientId },
      expiresAt: Date.parse(expiration) - EXPIRY_MARGIN_MS,
    }
  }
}

const withToken = (request: HttpRequest, token: Token | undefined): HttpRequest =>
  token === undefined ? request : { ...request, headers: { ...request.headers, ...token.headers } }

/**
 * Adds Prefect's CSRF headers where the server demands them. Nothing is asked until it does (403): most servers
 * have the protection off, and Prefect Cloud has none. From then on one token serves all requests until shortly
 * before it expires.
 */
export const withCsrf = (deps: CsrfDeps): Exchange => {
  const fetchToken = createTokenSource(deps)
  let current: Token | undefined
  let coming: Promise<Token | undefined> | undefined

  /** A token other than the one that was used; concurrent callers share it, a second would make it invalid. */
  const renewed = async (used: Token | undefined, signal: AbortSignal): Promise<Token | undefined> => {
    if (current !== used) return current
    coming ??= fetchToken()
      .then(token => (current = token))
      .finally(() => {
        coming = undefined
      })
    return abortable(coming, signal)
  }

  const tokenInUse = async (signal: AbortSignal): Promise<Token | undefined> =>
    current !== undefined && current.expiresAt <= deps.now() ? renewed(current, signal) : current

  return async (request, signal) => {
    if (request.method === 'GET') return deps.exchange(request, signal)
    const used = await tokenInUse(signal)
    const answer = await deps.exchange(withToken(request, used), signal)
    if (!isCsrfRefusal(answer)) return answer
    // The middleware refused before anything was done, so that any request may be sent again.
    const fresh = await renewed(used, signal)
    return fresh === undefined ? answer : deps.exchange(withToken(request, fresh), signal)
  }
}
