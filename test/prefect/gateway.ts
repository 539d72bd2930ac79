// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 wants this polyfill before it is loaded
import 'reflect-metadata'
import type { webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { createServer, request as forward } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { connect } from 'node:net'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

import * as x509 from '@peculiar/x509'

interface Teardown {
  readonly teardown: (action: () => Promise<void>) => void
}

interface Seen {
  readonly method: string
  /** Path and query, or the whole URL where the gateway is used as a proxy. */
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly bytes: number
}

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export interface GatewayOptions {
  /** Where requests go that `answer` leaves alone: an origin such as `http://127.0.0.1:4200`. */
  readonly target: string
  /** A path prefix that is taken off before a request goes on. */
  readonly prefix?: string
  readonly tls?: { readonly key: string; readonly cert: string }
  /** Answers in the target's stead. */
  readonly answer?: (seen: Seen) => Answer | undefined
}

export interface Gateway {
  readonly origin: string
  readonly seen: readonly Seen[]
  /** Targets of CONNECT requests. */
  readonly tunnels: readonly string[]
}

const pathOf = (url: string, prefix: string): string => {
  const path = url.startsWith('http') ? url.slice(new URL(url).origin.length) : url
  return path.startsWith(prefix) ? path.slice(prefix.length) : '/no-such-prefix'
}

const passOn = (request: IncomingMessage, response: ServerResponse, to: { url: string; body: Buffer }) => {
  const { method, headers } = request
  const onward = forward(to.url, { method, headers }, answer => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(response)
  })
  onward.on('error', () => response.writeHead(502).end())
  onward.end(to.body)
}

const listening = async (t: Teardown, server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return (server.address() as AddressInfo).port
}

/**
 * What stands in front of Prefect in the field: something that terminates TLS, takes off a path prefix, wants
 * headers, or forwards for a proxy. It passes on to a real server and writes down what it saw.
 */
export const startGateway = async (t: Teardown, options: GatewayOptions): Promise<Gateway> => {
  const { target, prefix = '', tls, answer } = options
  const seen: Seen[] = []
  const tunnels: string[] = []
  const respond = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '', headers } = request
    const body = await buffer(request)
    const one = { method, url, headers, bytes: body.length }
    seen.push(one)
    const own = answer?.(one)
    if (own === undefined) return passOn(request, response, { url: target + pathOf(url, prefix), body })
    response
      .writeHead(own.status, { 'content-type': 'application/json', ...own.headers })
      .end(own.body ?? '{}')
  }
  const listener: RequestListener = (request, response) => {
    respond(request, response).catch((error: unknown) => response.destroy(error as Error))
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  server.on('connect', (request, client) => {
    tunnels.push(request.url ?? '')
    const [host, port] = (request.url ?? '').split(':')
    const onward = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection Established\r\n\r\n')
      onward.pipe(client).pipe(onward)
    })
    onward.on('error', () => client.destroy())
    client.on('error', () => onward.destroy())
  })
  const port = await listening(t, server)
  return { origin: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`, seen, tunnels }
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

const pem = async (key: webcrypto.CryptoKey): Promise<string> =>
  x509.PemConverter.encode(await crypto.subtle.exportKey('pkcs8', key), 'PRIVATE KEY')

/** A private authority's certificate, and a key and certificate for 127.0.0.1 signed by it; all PEM. */
export const createPrivateCa = async () => {
  const generate = () => crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const validity = { notBefore: new Date(Date.now() - 60_000), notAfter: new Date(Date.now() + 3_600_000) }
  const caKeys = await generate()
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    ...validity,
    name: 'CN=Private CA',
    keys: caKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  })
  const keys = await generate()
  const leaf = await x509.X509CertificateGenerator.create({
    ...validity,
    issuer: ca.subject,
    subject: 'CN=Prefect',
    publicKey: keys.publicKey,
    signingKey: caKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
  })
  return { ca: ca.toString('pem'), key: await pem(keys.privateKey), cert: leaf.toString('pem') }
}
