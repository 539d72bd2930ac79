import { readFileSync } from 'node:fs'
import { getCACertificates } from 'node:tls'

import { EnvHttpProxyAgent, request as send } from 'undici'
import type { Dispatcher } from 'undici'

import { PrefectError } from './errors.ts'
import type { Asked } from './errors.ts'

export interface HttpRequest extends Asked {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

export interface HttpAnswer {
  readonly status: number
  readonly contentType: string
  readonly retryAfter?: string
  /** When it was answered, by the server's clock: the header, in whole seconds. */
  readonly date?: string
  readonly text: string
}

/** One request, one answer, whatever its status; rejects when there was none. */
export type Exchange = (request: HttpRequest, signal: AbortSignal) => Promise<HttpAnswer>

export interface ConnectionOptions {
  readonly apiKey?: string
  readonly authString?: string
  readonly customHeaders?: Readonly<Record<string, string>>
  readonly caFile?: string
  readonly insecureSkipVerify?: boolean
}

/** 50 flow runs whose parameters are as large as a server allows (512 KiB by default), and a little more. */
const LARGEST_ANSWER_BYTES = 32 * 1024 * 1024

/**
 * Prefect reads a client version out of `User-Agent: prefect/…`, and the CSRF headers are made per request. An API
 * version changes the rules by which proposals are judged: below 0.8.4 a run that is parked for a retry has no
 * `retry_type` (measured on 3.8.8).
 */
const RESERVED_HEADERS: ReadonlySet<string> = new Set([
  'user-agent',
  'prefect-csrf-token',
  'prefect-csrf-client',
  'x-prefect-api-version',
])

/** As Prefect's own client: the auth string wins over the key. */
const authorization = ({ apiKey, authString }: ConnectionOptions): Readonly<Record<string, string>> => {
  if (authString !== undefined) {
    return { authorization: `Basic ${Buffer.from(authString, 'utf8').toString('base64')}` }
  }
  return apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }
}

/**
 * The headers of every request. Custom ones win over ours but the reserved ones, as in Prefect's own client.
 * No `X-PREFECT-API-VERSION`: a server then applies its newest rules, and an older one has nothing to refuse.
 */
const headersOf = (options: ConnectionOptions): Readonly<Record<string, string>> => {
  const custom = Object.entries(options.customHeaders ?? {})
    .map(([name, value]) => [name.toLowerCase(), value] as const)
    .filter(([name]) => !RESERVED_HEADERS.has(name))
  return {
    accept: 'application/json',
    'user-agent': 'prefect-lifeguard',
    ...authorization(options),
    ...Object.fromEntries(custom),
  }
}

const trustOf = ({ caFile, insecureSkipVerify }: ConnectionOptions) => ({
  rejectUnauthorized: insecureSkipVerify !== true,
  ...(caFile === undefined ? {} : { ca: [...getCACertificates('default'), readFileSync(caFile, 'utf8')] }),
})

/** Prefect's server closes an idle connection after 5 s (uvicorn's default); a request must not meet it closing. */
const KEEP_ALIVE_MS = 2_000

/** Proxies come from the environment (`HTTPS_PROXY`, `NO_PROXY`, ...), as for Prefect's own client. */
const createAgent = (options: ConnectionOptions): Dispatcher => {
  const trust = trustOf(options)
  return new EnvHttpProxyAgent({
    connect: trust,
    requestTls: trust,
    proxyTls: trust,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
  })
}

const textOf = async (body: Dispatcher.ResponseData['body'], request: HttpRequest): Promise<string> => {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > LARGEST_ANSWER_BYTES) {
      throw new PrefectError(
        { ...request, status: 0 },
        `the answer is larger than ${LARGEST_ANSWER_BYTES} bytes`,
      )
    }
  }
  return Buffer.concat(chunks).toString('utf8')
}

const firstOf = (header: string | string[] | undefined): string | undefined => [header].flat()[0]

/**
 * Requests to one Prefect server with credentials, trust and proxies. Redirects are not followed: they would
 * carry credentials elsewhere and double every request. A body is sent as a string, so that `Content-Length` is
 * always there: Prefect Cloud refuses chunked requests (411).
 */
export const createConnection = (
  options: ConnectionOptions,
): { readonly exchange: Exchange; readonly close: () => Promise<void> } => {
  const dispatcher = createAgent(options)
  const headers = headersOf(options)
  return {
    exchange: async (request, signal) => {
      const answer = await send(request.url, {
        dispatcher,
        signal,
        method: request.method,
        headers: { ...request.headers, ...headers },
        body: request.body ?? null,
      })
      const retryAfter = firstOf(answer.headers['retry-after'])
      const date = firstOf(answer.headers['date'])
      return {
        status: answer.statusCode,
        contentType: firstOf(answer.headers['content-type']) ?? '',
        ...(retryAfter === undefined ? {} : { retryAfter }),
        ...(date === undefined ? {} : { date }),
        text: await textOf(answer.body, request),
      }
    },
    close: () => dispatcher.destroy(),
  }
}
