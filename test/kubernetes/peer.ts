import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { KubeConfig } from '@kubernetes/client-node'

/** One request, and the means to answer it in any way, also in none. */
export interface Exchange {
  /** Counted from 0 over all requests. */
  readonly index: number
  readonly method: string
  readonly url: URL
  readonly headers: IncomingMessage['headers']
  readonly body: string
  readonly response: ServerResponse
  readonly socket: Socket
}

export interface Peer extends AsyncDisposable {
  readonly server: string
  readonly requests: Exchange[]
  readonly kubeConfig: (user?: object) => KubeConfig
  readonly openSockets: () => number
}

/**
 * Plays prepared answers, byte for byte, over HTTP/1.1 on a loopback port. It knows nothing of Kubernetes: it stands
 * in where a real apiserver cannot be made to do the thing at the right moment, such as falling silent in the middle
 * of a watch, cutting a character in two or answering 410 inside a stream. Everything else is tested against a real one.
 */
export async function startPeer(answer: (exchange: Exchange) => void | Promise<void>): Promise<Peer> {
  const requests: Exchange[] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk as Buffer)
      const exchange = {
        index: requests.length,
        method: request.method ?? '',
        url: new URL(request.url ?? '', 'http://peer'),
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
        response,
        socket: request.socket,
      }
      requests.push(exchange)
      await answer(exchange)
    })().catch(() => {})
  })
  server.on('connection', socket => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => sockets.delete(socket))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const address = `http://127.0.0.1:${port}`
  return {
    server: address,
    requests,
    openSockets: () => sockets.size,
    kubeConfig: (user = { token: 'first' }) => kubeConfigFor(address, user),
    [Symbol.asyncDispose]: async () => {
      server.close()
      for (const socket of sockets) socket.destroy()
      await once(server, 'close')
    },
  }
}

/** client-node allows plain HTTP only where certificates are not looked at. */
export function kubeConfigFor(server: string, user: object): KubeConfig {
  const config = new KubeConfig()
  config.loadFromOptions({
    clusters: [{ name: 'peer', server, skipTLSVerify: true }],
    users: [{ name: 'user', ...user }],
    contexts: [{ name: 'peer', cluster: 'peer', user: 'user' }],
    currentContext: 'peer',
  })
  return config
}

export interface Answer {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body: unknown
}

export function sendJson(
  { response }: Pick<Exchange, 'response'>,
  { status = 200, headers, body }: Answer,
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

/** `metav1.Status` as an apiserver sends it. */
export const statusBody = (code: number, reason: string, more: object = {}): object => ({
  kind: 'Status',
  apiVersion: 'v1',
  status: 'Failure',
  message: `the peer says ${reason}`,
  reason,
  code,
  ...more,
})
