import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import type { RequestOptions } from 'node:https'
import { connect } from 'node:tls'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import type { Test } from 'tap'
import type { AdmissionOptions } from '../../src/admission/server.ts'
import { createAuthority, signLeaf } from '../../src/certificates/authority.ts'
import { clientCertificate } from './client-certificate.ts'
import { FLOW_RUN_ID, hanging, reviewOf, serverOf } from './server-of.ts'

const HOUR = 60 * 60 * 1000
const life = { notBefore: new Date(Date.now() - HOUR), notAfter: new Date(Date.now() + HOUR) }
const authority = await createAuthority(life)
const names = { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] }
const [first, second] = await Promise.all([1, 2].map(() => signLeaf({ authority, ...names, ...life })))
if (!first || !second) throw new Error('two leaves were to be signed')

const pod = { kind: 'Pod', metadata: { labels: { 'prefect.io/flow-run-id': FLOW_RUN_ID } } }

/** A server that listens, and the ways of asking it. */
async function listening(t: Test, options: Partial<AdmissionOptions> = {}) {
  const { server, registry, lines } = serverOf({ tls: first, ...options })
  await server.listen({ host: '127.0.0.1', port: 0 })
  t.teardown(() => server.close())
  const { port } = server.server.address() as AddressInfo
  const tls: ConnectionOptions = { host: '127.0.0.1', port, ca: authority.cert, servername: 'localhost' }
  return { server, registry, lines, tls, mutate: (options: RequestOptions) => mutate({ ...tls, ...options }) }
}

async function mutate(options: RequestOptions) {
  const headers = { 'content-type': 'application/json' }
  const asking = request({ method: 'POST', path: '/mutate', headers, ...options })
  asking.end(JSON.stringify(reviewOf(pod)))
  const [answer] = (await once(asking, 'response')) as [IncomingMessage]
  const socket = answer.socket as TLSSocket
  await answer.resume().toArray()
  return { status: answer.statusCode, connection: answer.headers.connection, socket }
}

async function handshake(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect(options)
  await once(socket, 'secureConnect')
  return socket
}

t.test('the newest TLS and HTTP/1.1 are taken, whatever else is offered', async t => {
  const { tls } = await listening(t)
  const socket = await handshake({ ...tls, ALPNProtocols: ['h2', 'http/1.1'] })
  t.equal(socket.getProtocol(), 'TLSv1.3')
  t.equal(socket.alpnProtocol, 'http/1.1')
  t.equal(socket.getPeerCertificate().asn1Curve, 'prime256v1')
  socket.destroy()
})

const weak: Record<string, ConnectionOptions> = {
  'TLS 1.1': { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' },
  'TLS 1.2 without authenticated encryption': { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' },
}

t.test('TLS 1.2 is served, weaker is not, also with a renewed certificate', async t => {
  const { server, tls } = await listening(t)
  for (const when of ['at first', 'renewed']) {
    if (when === 'renewed') server.useCertificate(second)
    const socket = await handshake({ ...tls, maxVersion: 'TLSv1.2' })
    t.equal(socket.getProtocol(), 'TLSv1.2', when)
    socket.destroy()
    for (const [name, options] of Object.entries(weak)) {
      await t.rejects(handshake({ ...tls, ...options }), { code: /ALERT/ }, `${when}: ${name}`)
    }
  }
})

t.test('a renewed certificate is shown to new connections, open ones go on', async t => {
  const { server, tls, mutate } = await listening(t)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const before = await mutate({ agent })
  server.useCertificate(second)
  const after = await mutate({ agent })
  t.equal(after.status, 200)
  t.equal(after.socket, before.socket, 'the same connection')
  const socket = await handshake(tls)
  const shown = socket.getPeerX509Certificate()?.serialNumber
  t.not(shown, before.socket.getPeerX509Certificate()?.serialNumber, 'another certificate')
  socket.destroy()
})

t.test('a session is resumed', async t => {
  const { tls } = await listening(t)
  const before = await handshake(tls)
  const [session] = (await once(before, 'session')) as [Buffer]
  const after = await handshake({ ...tls, session })
  t.equal(after.isSessionReused(), true)
  before.destroy()
  after.destroy()
})

t.test('with a client CA only its clients are served', async t => {
  const { mutate } = await listening(t, { clientCa: authority.cert })
  const client = await clientCertificate(authority)
  const foreign = await clientCertificate(await createAuthority(life))
  t.equal((await mutate({ ...client, agent: false })).status, 200)
  await t.rejects(mutate({ agent: false }), 'no certificate')
  await t.rejects(mutate({ ...foreign, agent: false }), 'a certificate of another CA')
})

t.test('connections outlive those of kube-apiserver, slow clients do not', async t => {
  const { server } = await listening(t)
  t.ok(server.server.keepAliveTimeout > 90_000)
  t.equal(server.server.headersTimeout, 32_000)
  t.equal(server.server.requestTimeout, 32_000)
})

t.test('draining ends a kept connection after an answer, and none before', async t => {
  const { server, mutate } = await listening(t)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const { socket } = await mutate({ agent })
  server.drain()
  t.equal(socket.destroyed, false)
  const closed = once(socket, 'close')
  const last = await mutate({ agent })
  t.equal(last.socket, socket)
  t.match(last, { status: 200, connection: 'close' })
  await closed
  t.match(
    await mutate({ agent: false }),
    { status: 200, connection: 'close' },
    'new connections are still served',
  )
})

for (const isDrained of [true, false]) {
  t.test(
    `closing ${isDrained ? 'after' : 'without'} draining waits for requests, not for connections`,
    async t => {
      const { server, tls, mutate } = await listening(t, { parentOf: hanging, lookupDeadlineMs: 200 })
      const agent = new Agent({ keepAlive: true })
      t.teardown(() => agent.destroy())
      await mutate({ agent })
      const unused = await handshake(tls)
      // Two on kept connections: the one that is idle now, and a new one.
      const underWay = [mutate({ agent }), mutate({ agent })]
      await once(server.server, 'request')
      await once(server.server, 'request')
      // Its handshake is under way while everything closes, and no request follows.
      const late = connect({ ...tls })
      for (const socket of [unused, late]) socket.on('error', () => undefined)
      await once(server.server, 'connection')
      if (isDrained) server.drain()
      await server.close()
      t.match(await Promise.all(underWay), [{ status: 200 }, { status: 200 }])
      await t.rejects(mutate({ agent: false }), { code: 'ECONNREFUSED' })
    },
  )
}

t.test('plain HTTP, which only tests use, has no certificate to renew', async t => {
  const { server } = serverOf()
  t.doesNotThrow(() => server.useCertificate(second))
})
