import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { startCountingProxy } from './counting-proxy.ts'

const RUN = '1b8b3cac-ca53-4b51-aa2b-ee79466bd019'
const OTHER = 'f9ca3ca6-d3e7-488f-9e42-e9bbcc603b49'

/** Any server will do: what is tested is the counting. It says what it was asked, and is as Prefect to proposals. */
async function startUpstream(t: Test, verdict = 'ACCEPT') {
  const server = createServer((incoming, outgoing) => {
    const answer = { asked: incoming.url, packed: incoming.headers['accept-encoding'], status: verdict }
    outgoing.writeHead(201, { 'content-type': 'application/json', 'x-one': '1' }).end(JSON.stringify(answer))
  })
  server.on('upgrade', (_incoming, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
    socket.pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`
}

async function startProxy(t: Test, verdict?: string) {
  const proxy = await startCountingProxy(await startUpstream(t, verdict))
  t.teardown(() => proxy[Symbol.asyncDispose]())
  const post = (path: string, body: object = {}) =>
    request(`${proxy.apiUrl}${path}`, {
      method: 'POST',
      headers: { 'accept-encoding': 'gzip' },
      body: JSON.stringify(body),
    })
  return { proxy, post }
}

t.test('a request is passed on and its answer comes back, never packed', async t => {
  const { proxy, post } = await startProxy(t)
  t.equal(proxy.lastRequestAt(), 0)
  const { statusCode, headers, body } = await post('/flow_runs/filter?x=1')
  t.equal(statusCode, 201)
  t.equal(headers['x-one'], '1')
  t.strictSame(await body.json(), { asked: '/api/flow_runs/filter?x=1', status: 'ACCEPT' })
  t.ok(proxy.lastRequestAt() > 0)
})

t.test('requests are counted by endpoint, whatever run they are about', async t => {
  const { proxy, post } = await startProxy(t)
  for (const path of ['/flow_runs/filter', `/flow_runs/${RUN}`, `/flow_runs/${OTHER}?x=1`]) await post(path)
  t.strictSame(
    [...proxy.counts()],
    [
      ['POST /flow_runs/filter', 1],
      ['POST /flow_runs/{id}', 2],
    ],
  )
})

t.test('a run is crashed when Prefect has accepted that', async t => {
  const { proxy, post } = await startProxy(t)
  await post(`/flow_runs/${OTHER}/set_state`, { state: { type: 'RUNNING' } })
  await post(`/flow_runs/${RUN}/set_state`, { state: { type: 'CRASHED' } })
  t.type(proxy.crashedAt(RUN), 'number')
  t.equal(proxy.crashedAt(OTHER), undefined)
})

t.test('and not when Prefect has said no', async t => {
  const { proxy, post } = await startProxy(t, 'ABORT')
  await post(`/flow_runs/${RUN}/set_state`, { state: { type: 'CRASHED' } })
  t.equal(proxy.crashedAt(RUN), undefined)
})

t.test('a web socket goes through, and its messages are counted', async t => {
  const { proxy } = await startProxy(t)
  const { hostname, port } = new URL(proxy.apiUrl)
  const socket = connect(Number(port), hostname)
  t.teardown(() => socket.destroy())
  let answer = Buffer.alloc(0)
  socket.on('data', (bytes: Buffer) => {
    answer = Buffer.concat([answer, bytes])
  })
  socket.write('GET /api/events/in HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n')
  while (!answer.includes('101')) await sleep(5)
  const message = Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69])
  socket.write(message)
  while (!answer.includes(message)) await sleep(5)
  t.equal(proxy.messages(), 1)
  t.strictSame([...proxy.counts()], [['GET /events/in', 1]])
})
