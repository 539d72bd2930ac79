import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { setImmediate } from 'node:timers/promises'
import t from 'tap'
import { request } from 'undici'
import { createGateway } from './gateway.ts'
import { createLink } from './link.ts'
import { hasDeath, lifeOf } from './lives.ts'
import { createChance } from './random.ts'
import { faultInWords, scheduleOf } from './schedule.ts'

const MINUTES_10 = 600_000

t.test('the same seed gives the same faults and lives, another one others', t => {
  t.same(scheduleOf(7, MINUTES_10), scheduleOf(7, MINUTES_10))
  t.not(JSON.stringify(scheduleOf(7, MINUTES_10)), JSON.stringify(scheduleOf(8, MINUTES_10)))
  t.same(lifeOf(7, 42), lifeOf(7, 42))
  t.not(JSON.stringify(lifeOf(7, 42)), JSON.stringify(lifeOf(8, 42)))
  t.end()
})

t.test('ten minutes have every kind of fault', t => {
  const kinds = new Set([1, 2, 3].flatMap(seed => scheduleOf(seed, MINUTES_10).map(({ what }) => what.kind)))
  const expected =
    'apiserverRestart blackout clock compaction cut errors freeze halfOpen handOver kill latency lostAnswers prefectDown refused reset stall'
  t.equal([...kinds].toSorted().join(' '), expected)
  t.ok(scheduleOf(1, MINUTES_10).every(fault => faultInWords(fault).startsWith(fault.what.kind)))
  t.end()
})

t.test('about a tenth of the runs die', t => {
  const deaths = Array.from({ length: 5_000 }, (_, number) => lifeOf(1, number)).filter(hasDeath).length
  t.ok(deaths > 400 && deaths < 900, `${deaths} of 5000`)
  t.end()
})

t.test('chance is even enough', t => {
  const chance = createChance(1)
  const drawn = Array.from({ length: 10_000 }, () => chance.whole(1, 4))
  for (const value of [1, 2, 3, 4]) t.ok(drawn.filter(one => one === value).length > 2_200, String(value))
  t.end()
})

/** An echo behind a link, and a client in front of it. */
async function startEcho(t: { teardown: (act: () => Promise<void>) => void }) {
  const server = createServer(socket => socket.pipe(socket).on('error', () => {}))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const link = await createLink((server.address() as AddressInfo).port)
  const clients: Socket[] = []
  t.teardown(async () => {
    for (const client of clients) client.destroy()
    await link.close()
    server.close()
  })
  const call = async (): Promise<Socket> => {
    const client = connect(link.port, '127.0.0.1')
    clients.push(client)
    await once(client, 'connect')
    return client.setEncoding('utf8')
  }
  return { link, call }
}

/** What comes back for a word. */
const echoOf = async (client: Socket, word: string): Promise<unknown> => {
  client.write(word)
  const [answer] = (await once(client, 'data')) as unknown[]
  return answer
}

t.test('a link that is well passes everything on', async t => {
  const { call } = await startEcho(t)
  t.equal(await echoOf(await call(), 'one'), 'one')
})

t.test('what was stalled arrives afterwards', async t => {
  const { link, call } = await startEcho(t)
  const client = await call()
  t.equal(await echoOf(client, 'one'), 'one')
  await link.begin({ kind: 'stall' })
  const answer = echoOf(client, 'two')
  await link.heal()
  t.equal(await answer, 'two')
})

t.test('what is late does not overtake what is later', async t => {
  const { link, call } = await startEcho(t)
  const client = await call()
  await link.begin({ kind: 'latency', ms: 50 })
  client.write('one')
  while (link.waiting() === 0) await setImmediate()
  await link.heal()
  let received = ''
  client.on('data', text => {
    received += String(text)
  })
  client.write('two')
  while (received.length < 6) await once(client, 'data')
  t.equal(received, 'onetwo')
})

t.test('a half-open connection is dead for ever, a new one afterwards is not', async t => {
  const { link, call } = await startEcho(t)
  const before = await call()
  t.equal(await echoOf(before, 'one'), 'one')
  await link.begin({ kind: 'halfOpen' })
  await link.heal()
  const silent = echoOf(before, 'two')
  t.equal(await echoOf(await call(), 'three'), 'three')
  t.equal(await Promise.race([silent, Promise.resolve('nothing')]), 'nothing')
})

t.test('nobody listens while a link refuses', async t => {
  const { link, call } = await startEcho(t)
  await link.begin({ kind: 'refused' })
  await t.rejects(call(), { code: 'ECONNREFUSED' })
  await link.heal()
  t.equal(await echoOf(await call(), 'one'), 'one')
})

t.test('a reset is one', async t => {
  const { link, call } = await startEcho(t)
  const client = await call()
  t.equal(await echoOf(client, 'one'), 'one')
  const failed = once(client, 'error')
  link.reset()
  await t.rejects(
    failed.then(([error]: unknown[]) => Promise.reject(error)),
    { code: 'ECONNRESET' },
  )
})

/** A server that never ends its answer to a watch, behind a gateway. */
async function startWatched(t: { teardown: (act: () => void) => void }) {
  const seen: string[] = []
  const watches: ServerResponse[] = []
  const server = createHttpServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    response.writeHead(200, { 'content-type': 'application/json' })
    if (request.url?.includes('watch=true') === true) {
      response.flushHeaders()
      watches.push(response)
    } else response.end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const target = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const gateway = await createGateway({ target, chance: createChance(1) })
  t.teardown(() => {
    gateway.close()
    server.closeAllConnections()
    server.close()
  })
  return { gateway, seen, watches, url: `http://127.0.0.1:${gateway.port}` }
}

t.test('a watch passes a gateway line by line, and ends on both sides', async t => {
  const { url, watches } = await startWatched(t)
  const { statusCode, body } = await request(`${url}/api/v1/pods?watch=true`)
  t.equal(statusCode, 200, 'answered before there is anything to tell')
  const [watch] = watches
  watch?.write('one')
  const lines = body[Symbol.asyncIterator]()
  t.equal(String((await lines.next()).value), 'one', 'told while it lasts')
  const closed = watch ? once(watch, 'close') : t.fail('no watch has come')
  body.destroy()
  await closed
})

t.test('an answer that is lost was carried out, and watches lose none', async t => {
  const { gateway, url, seen, watches } = await startWatched(t)
  gateway.fault = { kind: 'lostAnswers', share: 1 }
  await t.rejects(request(`${url}/write`, { method: 'POST', body: '{}' }), { code: 'UND_ERR_SOCKET' })
  t.strictSame(seen, ['POST /write'])
  const { statusCode, body } = await request(`${url}/api/v1/pods?watch=true`)
  t.equal(statusCode, 200)
  watches[0]?.end()
  await body.dump()
})

t.test('errors come from the gateway, and the server hears of nothing', async t => {
  const { gateway, url, seen } = await startWatched(t)
  gateway.fault = { kind: 'errors', share: 1, status: 429, retryAfter: 3 }
  const { statusCode, headers, body } = await request(`${url}/write`, { method: 'POST', body: '{}' })
  await body.dump()
  t.equal(statusCode, 429)
  t.equal(headers['retry-after'], '3')
  t.strictSame(seen, [])
})
