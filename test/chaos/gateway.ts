import { once } from 'node:events'
import { createServer, request as send } from 'node:http'
import type { ClientRequest, IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { Agent, createServer as createSecureServer, request as sendSecurely } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
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

/** In front of the apiserver, with HTTP/1.1, which is what the product speaks with it. */
export async function createSecureGateway(options: SecureGatewayOptions): Promise<Gateway> {
  const { target, ca, cert, key, chance } = options
  const agent = new Agent({ ca, keepAlive: true })
  const pass = (request: IncomingMessage): ClientRequest =>
    sendSecurely(target + (request.url ?? ''), { ...partsOf(request), agent })
  return startGateway({
    chance,
    pass,
    serve: answer => createSecureServer({ cert, key }, answer).on('tlsClientError', () => {}),
    onClose: () => {
      agent.destroy()
    },
  })
}

/** In front of Prefect: plain HTTP/1.1. */
export async function createGateway({ target, chance }: GatewayOptions): Promise<Gateway> {
  // A new connection for each: one that is kept could be closed by the server just then, a fault nobody ordered.
  const pass = (request: IncomingMessage): ClientRequest =>
    send(target + (request.url ?? ''), { ...partsOf(request), agent: false })
  return startGateway({
    chance,
    pass,
    // As uvicorn, which Prefect's server is.
    serve: answer => createServer({ keepAliveTimeout: 5_000 }, answer),
    onClose: () => {},
  })
}

interface GatewayParts {
  readonly chance: Chance
  /** Sends a request on to the server; its body comes afterwards. */
  readonly pass: (request: IncomingMessage) => ClientRequest
  readonly serve: (answer: RequestListener) => Server
  readonly onClose: () => void
}

async function startGateway({ chance, pass, serve, onClose }: GatewayParts): Promise<Gateway> {
  const gateway: { fault: AnswerFault | undefined } = { fault: undefined }
  const server = serve((request, response) => {
    const forwarding = { request, response, pass: () => pass(request) }
    forward(forwarding, gateway.fault, chance).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return Object.assign(gateway, {
    port: (server.address() as AddressInfo).port,
    close: () => {
      server.closeAllConnections()
      server.close()
      onClose()
    },
  })
}

const partsOf = ({ method, headers }: IncomingMessage) => ({ method, headers })

interface Forward {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly pass: () => ClientRequest
}

/** An answer is passed on as it comes: that of a watch does not end. */
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
  response.on('close', () => onward.destroy())
  onward.end(body)
  const [answer] = (await once(onward, 'response')) as [IncomingMessage]
  // A watch carries nothing out that could be lost.
  if (isHit && !isWatch(request)) {
    request.socket.destroy()
    return
  }
  response.writeHead(answer.statusCode ?? 502, answer.headers)
  response.flushHeaders()
  await pipeline(answer, response)
}

const isWatch = ({ url = '' }: IncomingMessage): boolean => url.includes('watch=true')

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
