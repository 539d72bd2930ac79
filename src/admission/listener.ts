import { constants } from 'node:crypto'
import { createServer } from 'node:http'
import type { RequestListener, Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { Socket } from 'node:net'
import { Server as TlsServer } from 'node:tls'
import type { SecureContextOptions } from 'node:tls'

/** A key and its certificate chain, PEM. */
export interface Certificate {
  readonly key: string
  readonly cert: string
}

const TIMEOUTS = {
  /** Longer than kube-apiserver keeps an idle connection (Go's `IdleConnTimeout`, 90 s): never close what it is about to use. */
  keepAliveTimeout: 120_000,
  /** controller-runtime's `ReadHeaderTimeout`. The apiserver itself gives up after 2 s. */
  headersTimeout: 32_000,
  requestTimeout: 32_000,
}

/** A TLS handshake takes milliseconds; Node's own limit is two minutes. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** TLS 1.2 for older clients, with forward secrecy and authenticated encryption only; the suites of TLS 1.3 are all fine. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
].join(':')

/**
 * The server below fastify. HTTP/1.1 alone: it is what kube-apiserver speaks to a webhook behind a Service
 * (kubernetes/kubernetes#82090), and HTTP/2 would only add rapid resets for those that register by URL.
 * Sessions are resumed by tickets, Node's default, except with client certificates: a resumed session does not show one again.
 */
export function createListener(
  handler: RequestListener,
  { tls, clientCa }: { readonly tls: Certificate | undefined; readonly clientCa: string | undefined },
): Server {
  if (tls === undefined) return createServer(TIMEOUTS, handler)
  const options = {
    ...TIMEOUTS,
    ...secureContextOf(tls, clientCa),
    handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    requestCert: clientCa !== undefined,
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
  }
  return createTlsServer(options, handler)
}

/**
 * Remembers connections that have not carried a request yet; what is returned ends them. Node leaves them out when it
 * closes idle connections, and waits for each to send its first request or to time out, half a minute later. Go's
 * client keeps such connections: it dials one, and uses another that has become free meanwhile (seen on 1.37.2).
 */
export function createUnusedConnections(server: Server): () => void {
  const unused = new Set<Socket>()
  let isEnding = false
  server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
    unused.add(socket)
    socket.once('close', () => unused.delete(socket))
    if (isEnding) socket.setTimeout(LAST_REQUEST_MS, () => socket.destroy())
  })
  server.on('request', ({ socket }) => {
    if (unused.delete(socket)) socket.setTimeout(0)
  })
  return () => {
    isEnding = true
    for (const socket of unused) socket.destroy()
  }
}

/** Who was still shaking hands when everything ended gets this long for the request behind it. */
const LAST_REQUEST_MS = 1_000

/**
 * Everything a TLS context is made of. `setSecureContext` starts from nothing, so a renewed certificate needs the
 * other settings again: without them it would bring back Node's defaults.
 */
export const secureContextOf = (
  { key, cert }: Certificate,
  clientCa: string | undefined,
): SecureContextOptions => ({
  key,
  cert,
  ciphers: CIPHERS,
  honorCipherOrder: true,
  minVersion: 'TLSv1.2',
  ...(clientCa !== undefined && { ca: clientCa, secureOptions: constants.SSL_OP_NO_TICKET }),
})
