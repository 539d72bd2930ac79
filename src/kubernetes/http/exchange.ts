import type { Dispatcher } from 'undici'

import type { Clock } from '../clock.ts'
import type { Credentials, CredentialSource } from './credentials.ts'
import { createDeadline, type Deadline } from './deadline.ts'
import { codeOf, KubernetesError, statusError } from './errors.ts'
import { contents, header, headersOf, queryOf } from './http.ts'
import type { KubernetesMetrics } from '../metrics.ts'
import type { ApiRequest, ApiStreamRequest, Call } from './request.ts'
import type { ServerTime } from './server-time.ts'
import { createLane, type Connections, type Lane } from './transport.ts'

/** An answer of the apiserver, whatever its status. */
export interface ApiResponse {
  readonly status: number
  readonly retryAfter: string | undefined
  /** Parsed where it was JSON, else the text. */
  readonly body: unknown
}

/** One request, once: authenticated, in time, counted. */
export interface Exchange {
  readonly whole: (request: ApiRequest<unknown> & { readonly timeoutMs: number }) => Promise<ApiResponse>
  readonly stream: (request: ApiStreamRequest) => Promise<AsyncIterable<Uint8Array>>
  readonly openConnections: () => number
  readonly close: () => Promise<void>
}

export interface ExchangeOptions {
  readonly credentials: CredentialSource
  readonly clock: Clock
  readonly metrics: KubernetesMetrics
  readonly userAgent: string
  readonly sockets: number
  /** Told of each answer that is a good one. */
  readonly heard: ServerTime['heard']
}

const UNAUTHORIZED = 401

/** A call under way. */
interface Progress {
  readonly call: Call
  readonly parent: AbortSignal
  readonly deadline: Deadline
  readonly lane: Lane
  readonly startedAt: number
  connections?: Connections
  /** When something of this call last arrived; at first, when it started. */
  lastSign: number
}

/**
 * HTTP/1.1 throughout: a watch has a connection of its own, requests share one, or a few in a burst. At rest these are
 * one a watch and one more. HTTP/2 would put all on one, but undici 8.12 takes a connection that was reset early for
 * alive and has every request on it wait for ever (measured through a proxy: one of twenty resets in the first
 * milliseconds; with HTTP/1.1 none of 300). A watch and the lease must not depend on that.
 */
export function createExchange(options: ExchangeOptions): Exchange {
  const open = new Set<unknown>()
  const lane = (sockets: number | null): Lane =>
    createLane({
      clock: options.clock,
      sockets,
      onSocket: socket => {
        open.add(socket)
        socket.once('close', () => open.delete(socket))
      },
    })
  const requests = lane(options.sockets)
  // No bound of its own: there are as many as reflectors, and one too few would wait for ever.
  const watches = lane(null)
  options.metrics.connections(() => open.size)
  return {
    whole: async request => whole(options, requests, request),
    stream: async request => stream(options, watches, request),
    openConnections: () => open.size,
    close: async () => {
      await Promise.all([requests.close(), watches.close()])
    },
  }
}

async function whole(
  options: ExchangeOptions,
  lane: Lane,
  request: ApiRequest<unknown> & { readonly timeoutMs: number },
): Promise<ApiResponse> {
  const { signal: parent, timeoutMs } = request
  const startedAt = options.clock.monotonic()
  const deadline = createDeadline(parent, timeoutMs)
  const times = { startedAt, lastSign: startedAt }
  const progress: Progress = { call: request, parent, deadline, lane, ...times }
  try {
    const response = await send(options, progress)
    const body = await response.body.text()
    return {
      status: response.statusCode,
      retryAfter: header(response, 'retry-after'),
      body: contents(response, body),
    }
  } catch (error) {
    throw failure(options, progress, error)
  } finally {
    deadline.clear()
  }
}

async function stream(
  options: ExchangeOptions,
  lane: Lane,
  request: ApiStreamRequest,
): Promise<AsyncIterable<Uint8Array>> {
  const { signal: parent, silenceMs } = request
  const startedAt = options.clock.monotonic()
  const call: Call = { method: 'GET', ...request }
  const deadline = createDeadline(parent, silenceMs)
  const times = { startedAt, lastSign: startedAt }
  const progress: Progress = { call, parent, deadline, lane, ...times }
  try {
    const response = await send(options, progress)
    if (response.statusCode === 200) return chunks(options, progress, response.body)
    const body = contents(response, await response.body.text())
    const retryAfter = header(response, 'retry-after')
    throw statusError({ method: 'GET', path: call.path, status: response.statusCode, retryAfter }, body)
  } catch (error) {
    deadline.clear()
    throw failure(options, progress, error)
  }
}

async function* chunks(
  options: ExchangeOptions,
  progress: Progress,
  body: Dispatcher.ResponseData['body'],
): AsyncGenerator<Uint8Array> {
  const { deadline } = progress
  try {
    deadline.arm()
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      signOfLife(progress, options.clock.monotonic())
      // A reader that takes its time is not a server that is silent.
      deadline.disarm()
      yield chunk
      deadline.arm()
    }
  } catch (error) {
    throw failure(options, progress, error)
  } finally {
    deadline.clear()
    body.destroy()
  }
}

function signOfLife(progress: Progress, now: number): void {
  progress.lastSign = now
  if (progress.connections) progress.connections.lastSign = now
}

/** Sends, and where the credentials are refused, once more with newly read ones: tokens and certificates rotate. */
async function send(options: ExchangeOptions, progress: Progress): Promise<Dispatcher.ResponseData> {
  const credentials = await options.credentials.current()
  const response = await sendOnce(options, progress, credentials)
  if (response.statusCode !== UNAUTHORIZED) return response
  await response.body.dump()
  return sendOnce(options, progress, await options.credentials.renew(credentials))
}

async function sendOnce(
  options: ExchangeOptions,
  progress: Progress,
  credentials: Credentials,
): Promise<Dispatcher.ResponseData> {
  const { call, deadline } = progress
  const connections = progress.lane.connections(credentials)
  progress.connections = connections
  const sentAt = options.clock.monotonic()
  const response = await connections.dispatcher.request({
    origin: credentials.origin,
    path: credentials.basePath + call.path + queryOf(call.query),
    method: call.method,
    headers: { ...headersOf(call, options.userAgent), ...credentials.headers },
    body: call.body === undefined ? null : JSON.stringify(call.body),
    signal: deadline.signal,
    // The deadline does this: undici's own time-outs would break a quiet watch off after 300 s.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  signOfLife(progress, options.clock.monotonic())
  count(options, progress, String(response.statusCode))
  // An error may be somebody else's, who stands in between and has a clock of his own.
  if (response.statusCode < 300) options.heard(header(response, 'date'), sentAt)
  return response
}

function count(options: ExchangeOptions, { call, startedAt }: Progress, code: string): void {
  options.metrics.requested({
    method: call.method,
    code,
    seconds: (options.clock.monotonic() - startedAt) / 1000,
  })
}

/** What a failed call throws: the caller's own reason where it was called off, else a KubernetesError. */
function failure(options: ExchangeOptions, progress: Progress, error: unknown): unknown {
  const { call, parent, deadline, connections, lane } = progress
  if (error instanceof KubernetesError) return error
  if (parent.aborted) return parent.reason
  if (deadline.expired() && connections) lane.distrust(connections, progress.lastSign)
  const code = codeWord(error, deadline)
  count(options, progress, code)
  const message = error instanceof Error ? error.message : String(error)
  return new KubernetesError({ method: call.method, path: call.path, code }, message, { cause: error })
}

function codeWord(error: unknown, deadline: Deadline): string {
  if (deadline.expired()) return 'Timeout'
  return error instanceof SyntaxError ? 'UnreadableBody' : codeOf(error)
}
