import { once } from 'node:events'
import { createServer as createHttpServer, IncomingMessage, request as send, ServerResponse } from 'node:http'
import type { ClientRequest } from 'node:http'
import { connect, createSecureServer } from 'node:http2'
import type { ClientHttp2Session, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { Agent, request as sendSecurely } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Chance } from './random.ts'

/** What is wrong with answers while a fault lasts; each for a share of the requests. */
export type AnswerFault =
  /** Somebody on the way says this instead. */
  | {
      readonly kind: 'errors'
      readonly share: number
      readonly status: 429 | 500 | 502 | 503 | 504
      /** Seconds of `Retry-After`; absent: none is sent. */
      readonly retryAfter?: number
    }
  /** The request is carried out and the connection breaks before its answer. */
  | { readonly kind: 'lostAnswers'; readonly share: number }

/** What understands requests, in front of a server: TCP alone can neither say 429 nor lose the answer of a write. */
export interface Gateway {
  readonly port: number
  fault: AnswerFault | undefined
  readonly close: () => void
}

export interface GatewayOptions {
  /** Where the server listens, such as `http://127.0.0.1:4200`. */
  readonly target: string
  /** Which of the requests are hit; not from the seed's schedule, since requests come as they come. */
  readonly chance: Chance
}

export interface SecureGatewayOptions extends GatewayOptions {
  /** Of the target; the gateway shows the target's own certificate, so that clients need trust nobody else. */
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** The apiserver's own limit (`--http2-max-streams-per-connection`, 1.37's default). */
const STREAMS = 100

const statusOf = (code: number): string =>
  JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    message: 'a fault of the chaos run',
    code,
  })

/** In front of the apiserver, with HTTP/2 and HTTP/1.1 as it has; in HTTP/2 one session for one. */
export async function createSecureGateway(options: SecureGatewayOptions): Promise<Gateway> {
  const { target, ca, cert, key, chance } = options
  const server = createSecureServer({
    cert,
    key,
    allowHTTP1: true,
    settings: { maxConcurrentStreams: STREAMS },
  })
  const sockets = new Set<Socket>()
  const gateway: { fault: AnswerFault | undefined } = { fault: undefined }
  const agent = new Agent({ ca, keepAlive: true })
  server.on('secureConnection', socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
  })
  server.on('session', session => {
    const upstream = connect(target, { ca })
    session.on('stream', (stream, headers) => {
      relay({ stream, headers, upstream }, gateway.fault, chance)
    })
    session.on('close', () => upstream.destroy())
    session.on('error', () => {})
    upstream.on('error', () => {})
    upstream.on('close', () => session.destroy())
  })
  server.on('request', (request, response) => {
    // HTTP/2 has its own way above.
    if (!(request instanceof IncomingMessage && response instanceof ServerResponse)) return
    const pass = (): ClientRequest =>
      sendSecurely(target + (request.url ?? ''), { ...partsOf(request), agent })
    forward({ request, response, pass }, gateway.fault, chance).catch(() => response.destroy())
  })
  server.on('sessionError', () => {})
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(gateway, {
    port: (server.address() as AddressInfo).port,
    close: () => {
      for (const socket of sockets) socket.destroy()
      agent.destroy()
      server.close()
    },
  })
}

const partsOf = ({ method, headers }: IncomingMessage) => ({ method, headers })

interface Relay {
  readonly stream: ServerHttp2Stream
  readonly headers: IncomingHttpHeaders
  readonly upstream: ClientHttp2Session
}

function relay({ stream, headers, upstream }: Relay, fault: AnswerFault | undefined, chance: Chance): void {
  stream.on('error', () => {})
  const isHit = fault !== undefined && chance.next() < fault.share
  if (isHit && fault.kind === 'errors') refuse(stream, fault)
  else if (upstream.destroyed || upstream.closed) stream.close()
  else carry({ stream, headers, upstream }, isHit && headers[':path']?.includes('watch=true') !== true)
}

function refuse(stream: ServerHttp2Stream, { status, retryAfter }: AnswerFault & { kind: 'errors' }): void {
  const wait = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
  stream.respond({ ':status': status, 'content-type': 'application/json', ...wait })
  stream.end(statusOf(status))
}

function carry({ stream, headers, upstream }: Relay, losesAnswer: boolean): void {
  const onward = upstream.request(headers)
  onward.on('error', () => stream.destroy())
  onward.on('response', answer => {
    if (losesAnswer) stream.destroy()
    if (stream.destroyed || stream.headersSent) return
    stream.respond(answer)
    onward.pipe(stream)
  })
  onward.on('close', () => {
    if (!stream.writableEnded) stream.destroy()
  })
  stream.on('close', () => onward.destroy())
  stream.pipe(onward)
}

/** In front of Prefect: plain HTTP/1.1. */
export async function createGateway({ target, chance }: GatewayOptions): Promise<Gateway> {
  const gateway: { fault: AnswerFault | undefined } = { fault: undefined }
  const server = createHttpServer((request, response) => {
    // A new connection for each: one that is kept could be closed by the server just then, a fault nobody ordered.
    const pass = (): ClientRequest =>
      send(target + (request.url ?? ''), { ...partsOf(request), agent: false })
    forward({ request, response, pass }, gateway.fault, chance).catch(() => response.destroy())
  })
  // As uvicorn, which Prefect's server is.
  server.keepAliveTimeout = 5_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(gateway, {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections()
      server.close()
    },
  })
}

interface Forward {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly pass: () => ClientRequest
}

async function forward(
  { request, response, pass }: Forward,
  fault: AnswerFault | undefined,
  chance: Chance,
): Promise<void> {
  const body = await buffer(request)
  const isHit = fault !== undefined && chance.next() < fault.share
  if (isHit && fault.kind === 'errors') {
    answerWith(response, fault)
    return
  }
  const onward = pass()
  onward.end(body)
  const [answer] = (await once(onward, 'response')) as [IncomingMessage]
  const content = await buffer(answer)
  if (isHit) {
    request.socket.resetAndDestroy()
    return
  }
  response.writeHead(answer.statusCode ?? 502, answer.headers)
  response.end(content)
}

/** Proxies answer in HTML, Prefect itself in JSON. */
function answerWith(
  response: ServerResponse,
  { status, retryAfter }: AnswerFault & { kind: 'errors' },
): void {
  const isProxy = status === 502 || status === 504
  response.writeHead(status, {
    'content-type': isProxy ? 'text/html' : 'application/json',
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
  })
  response.end(isProxy ? '<html>bad gateway</html>' : '{"detail":"a fault of the chaos run"}')
}
