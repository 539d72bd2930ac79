import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import t from 'tap'

import { createAccess, type Access, type AccessOptions } from '../../src/kubernetes/http/access.ts'
import { KubernetesError } from '../../src/kubernetes/http/errors.ts'
import { createKubernetesMetrics } from '../../src/kubernetes/metrics.ts'
import type { ApiRequest } from '../../src/kubernetes/http/request.ts'
import { closing, createTestClock, hanging, json, type Step, type TestClock } from './harness.ts'
import { eventually } from '../cluster/api.ts'
import { collected } from './objects.ts'
import { kubeConfigFor, startPeer, statusBody, type Peer } from './peer.ts'

const signal = AbortSignal.timeout(60_000)
const parse = (body: unknown): unknown => body
const path = '/api/v1/things'
const get: ApiRequest<unknown> = { method: 'GET', path, signal, parse }
const post: ApiRequest<unknown> = { method: 'POST', path, body: { a: 1 }, signal, parse }

const odd = (): never => {
  throw new TypeError('metadata.uid: expected a string')
}

interface Bench extends AsyncDisposable {
  readonly peer: Peer
  readonly access: Access
  readonly clock: TestClock
}

/** An access to a peer that answers so, one step a request, the last one for all that follow. */
async function startBench(
  steps: readonly Step[],
  options: Partial<AccessOptions> & { user?: object } = {},
): Promise<Bench> {
  const peer = await startPeer(exchange => steps[Math.min(exchange.index, steps.length - 1)]?.(exchange))
  const clock = createTestClock()
  const access = createAccess({ kubeConfig: peer.kubeConfig(options.user), clock, ...options })
  return {
    peer,
    access,
    clock,
    [Symbol.asyncDispose]: async () => {
      await access.close()
      await peer[Symbol.asyncDispose]()
    },
  }
}

const ok = json({ fine: true })
const text =
  (body: string, status = 200, contentType = 'text/plain'): Step =>
  ({ response }) => {
    response.writeHead(status, { 'content-type': contentType }).end(body)
  }
const failing = (status: number, headers: Record<string, string> = {}): Step =>
  json(statusBody(status, 'Whatever'), status, headers)
const onlyFor =
  (token: string): Step =>
  exchange =>
    exchange.headers.authorization === `Bearer ${token}` ? ok(exchange) : failing(401)(exchange)
const reset: Step = ({ socket }) => {
  socket.resetAndDestroy()
}

t.test('a request says who asks, what for, and how to answer', async t => {
  await using bench = await startBench([ok], { userAgent: 'tester/1' })
  const query = { labelSelector: 'a=b,c', limit: 5, watch: false, continue: undefined }
  const contentType = 'application/merge-patch+json'
  t.strictSame(await bench.access.request({ ...post, method: 'PATCH', query, contentType }), { fine: true })
  const [request] = bench.peer.requests
  t.match(request, { method: 'PATCH', body: '{"a":1}' })
  t.equal(request?.url.pathname, path)
  t.strictSame(Object.fromEntries(request?.url.searchParams ?? []), {
    labelSelector: 'a=b,c',
    limit: '5',
    watch: 'false',
  })
  t.match(request?.headers, {
    authorization: 'Bearer first',
    'user-agent': 'tester/1',
    accept: 'application/json',
    'content-type': contentType,
  })
})

t.test('a cluster may lie below a path, and a user may have a password', async t => {
  await using bench = await startBench([ok])
  const access = createAccess({
    kubeConfig: kubeConfigFor(`${bench.peer.server}/k8s/clusters/c-1/`, { username: 'ann', password: 'p' }),
  })
  await access.request(get)
  t.equal(bench.peer.requests[0]?.url.pathname, `/k8s/clusters/c-1${path}`)
  t.equal(bench.peer.requests[0]?.headers.authorization, `Basic ${Buffer.from('ann:p').toString('base64')}`)
  await access.close()
})

t.test('a kubeconfig without a cluster says so', async t => {
  const kubeConfig = kubeConfigFor('http://127.0.0.1:1', {})
  kubeConfig.setCurrentContext('elsewhere')
  const access = createAccess({ kubeConfig })
  await t.rejects(access.request({ ...get, attempts: 1 }), { message: /context elsewhere names no cluster/ })
  await access.close()
})

interface Case {
  readonly steps: readonly Step[]
  readonly request?: Partial<ApiRequest<unknown>>
  readonly requests: number
  readonly waits?: readonly number[]
  /** Absent: it ends well. */
  readonly error?: { readonly status?: number; readonly code?: string }
}

const retries: Record<string, Case> = {
  'a GET is tried four times, ever more slowly': {
    steps: [failing(503), failing(500), failing(502), ok],
    requests: 4,
    waits: [125, 250, 500],
  },
  'a GET that always fails says so in the end': {
    steps: [failing(503)],
    requests: 4,
    waits: [125, 250, 500],
    error: { status: 503 },
  },
  'a GET survives a reset': { steps: [reset, ok], requests: 2, waits: [125] },
  'a throttled GET comes again when it is told': {
    steps: [failing(429, { 'retry-after': '2' }), ok],
    requests: 2,
    waits: [2125],
  },
  'a time too far away is left to whoever asked': {
    steps: [failing(429, { 'retry-after': '600' })],
    requests: 1,
    error: { status: 429 },
  },
  'a 404 is an answer': { steps: [failing(404)], requests: 1, error: { status: 404 } },
  'a 403 is an answer': { steps: [failing(403)], requests: 1, error: { status: 403 } },
  'a POST is not repeated: it may have been done': {
    steps: [failing(503)],
    request: post,
    requests: 1,
    error: { status: 503 },
  },
  'a POST that lost its connection neither': { steps: [reset], request: post, requests: 1, error: {} },
  'a PATCH is, where it is said to mean the same twice': {
    steps: [failing(503), ok],
    request: { ...post, method: 'PATCH', attempts: 3 },
    requests: 2,
    waits: [125],
  },
  'an answer that does not come in time is asked for again': {
    steps: [hanging(), ok],
    request: { timeoutMs: 500 },
    requests: 2,
    waits: [125],
  },
  'a POST without an answer is not repeated': {
    steps: [hanging()],
    request: { ...post, timeoutMs: 50 },
    requests: 1,
    error: { code: 'Timeout' },
  },
}

for (const [name, { steps, request, requests, waits = [], error }] of Object.entries(retries)) {
  t.test(name, async t => {
    await using bench = await startBench(steps)
    const answer = bench.access.request({ ...get, ...request })
    if (error) await t.rejects(answer, { name: 'KubernetesError', path, ...error })
    else t.strictSame(await answer, { fine: true })
    t.equal(bench.peer.requests.length, requests)
    t.strictSame(bench.clock.waits, waits)
  })
}

t.test('an error says what was asked and what was answered, briefly', async t => {
  const page = `<html>${'x'.repeat(5000)}`
  await using bench = await startBench([
    json(statusBody(409, 'Conflict'), 409),
    text(page, 403, 'text/html'),
    text('{"half":', 200, 'application/json'),
    ok,
  ])
  const message = async (request: ApiRequest<unknown>): Promise<string> => {
    const error: unknown = await bench.access.request(request).catch((cause: unknown) => cause)
    return error instanceof KubernetesError
      ? error.message
      : t.fail(`no KubernetesError: ${String(error)}`).toString()
  }
  t.equal(await message(post), 'POST /api/v1/things: 409 Conflict: the peer says Conflict')
  t.match(await message(get), /^GET \/api\/v1\/things: 403 Status: <html>x{490,500}$/)
  t.match(await message(get), /^GET \/api\/v1\/things: UnreadableBody: .*JSON/)
  t.equal(
    await message({ ...get, parse: odd }),
    'GET /api/v1/things: 200 UnreadableBody: metadata.uid: expected a string',
  )
})

t.test('text is handed over as text', async t => {
  await using bench = await startBench([text('{"a')])
  t.equal(await bench.access.request(get), '{"a')
})

t.test('whoever calls off gets the own reason back', async t => {
  await using bench = await startBench([hanging(), failing(503, { 'retry-after': '1' })])
  const { access, clock } = bench
  await t.rejects(access.request({ ...get, signal: AbortSignal.abort(new Error('never wanted')) }), {
    message: 'never wanted',
  })
  const controller = new AbortController()
  const answer = access.request({ ...get, signal: controller.signal })
  await eventually(async () => bench.peer.requests.length, {
    until: count => count === 1,
    what: 'the request',
  })
  controller.abort(new Error('no longer wanted'))
  await t.rejects(answer, { message: 'no longer wanted' })
  const impatient = new AbortController()
  clock.hold(1125, async () => {
    impatient.abort(new Error('not that long'))
  })
  await t.rejects(access.request({ ...get, signal: impatient.signal }), { message: 'not that long' })
  t.equal(bench.peer.requests.length, 2, 'while waiting to ask again, too')
})

t.test('a refused token is read anew at once, once for all who were refused', async t => {
  const tokenFile = join(t.testdir({ token: 'old' }), 'token')
  const user = { authProvider: { name: 'tokenFile', config: { tokenFile } } }
  await using bench = await startBench([onlyFor('new')], { user })
  await t.rejects(bench.access.request(get), { message: /401 Whatever/ })
  t.equal(bench.peer.requests.length, 2, 'and it has been looked at twice')
  await writeFile(tokenFile, 'new')
  const answers = await Promise.all([1, 2, 3].map(async () => bench.access.request(get)))
  t.strictSame(answers, [{ fine: true }, { fine: true }, { fine: true }])
})

t.test('a token in the kubeconfig wins over a file, as with kubectl', async t => {
  const tokenFile = join(t.testdir({ token: 'old' }), 'token')
  const user = { token: 'static', authProvider: { name: 'tokenFile', config: { tokenFile } } }
  await using bench = await startBench([ok], { user })
  await bench.access.request(get)
  t.equal(bench.peer.requests[0]?.headers.authorization, 'Bearer static')
})

t.test('an exec plugin is run, and run again when its token is refused', async t => {
  const folder = t.testdir({ count: '0' })
  const program = `
    const fs = require('node:fs'), file = ${JSON.stringify(join(folder, 'count'))}
    const count = Number(fs.readFileSync(file, 'utf8')) + 1
    fs.writeFileSync(file, String(count))
    console.log(JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status: { token: 'token-' + count } }))`
  const user = {
    exec: { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: ['-e', program] },
  }
  await using bench = await startBench([onlyFor('token-2')], { user })
  t.strictSame(await bench.access.request(get), { fine: true })
  t.strictSame(
    bench.peer.requests.map(({ headers }) => headers.authorization),
    ['Bearer token-1', 'Bearer token-2'],
  )
})

t.test('an exec plugin that fails is an error that says so', async t => {
  const user = {
    exec: {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: process.execPath,
      args: ['-e', 'process.exit(3)'],
    },
  }
  await using bench = await startBench([ok], { user })
  await t.rejects(bench.access.request({ ...get, attempts: 1 }), { name: 'KubernetesError' })
  t.equal(bench.peer.requests.length, 0)
})

t.test('parallel requests take no more connections than they may', async t => {
  await using bench = await startBench([ok], { connections: 2 })
  await Promise.all(Array.from({ length: 20 }, async () => bench.access.request(get)))
  t.equal(bench.access.openConnections(), 2)
  t.equal(bench.peer.openSockets(), 2)
})

t.test('a stream hands over what arrives until the server ends it', async t => {
  await using bench = await startBench([closing('a', 'b')])
  const chunks = await collected(
    await bench.access.stream({ path, query: { watch: true }, signal, silenceMs: 5000 }),
  )
  t.equal(Buffer.concat(chunks).toString(), 'ab')
  t.equal(bench.peer.requests[0]?.url.search, '?watch=true')
})

t.test('a stream that is refused is an error like any other', async t => {
  await using bench = await startBench([failing(410)])
  await t.rejects(bench.access.stream({ path, signal, silenceMs: 5000 }), { status: 410, code: 'Whatever' })
})

t.test('a stream ends with its signal, with its reader, and with the access', async t => {
  await using bench = await startBench([hanging('a')])
  const open = async (own = signal): Promise<AsyncIterator<Uint8Array>> => {
    const iterator = (await bench.access.stream({ path, signal: own, silenceMs: 5000 }))[
      Symbol.asyncIterator
    ]()
    t.equal((await iterator.next()).done, false)
    return iterator
  }
  const controller = new AbortController()
  const aborted = await open(controller.signal)
  controller.abort(new Error('enough'))
  await t.rejects(aborted.next(), { message: 'enough' })

  const left = await open()
  await left.return?.()
  t.equal((await left.next()).done, true)

  const closed = await open()
  await bench.access.close()
  await t.rejects(closed.next(), { name: 'KubernetesError' })
  t.equal(bench.access.openConnections(), 0)
})

t.test('silence is the server’s alone: a slow reader is not silent', async t => {
  await using bench = await startBench([hanging('a')])
  await using other = await startBench([hanging()])
  const open = { path, signal, silenceMs: 100 }
  const iterator = (await bench.access.stream(open))[Symbol.asyncIterator]()
  await iterator.next()
  // Nobody asks for more until the same time has run out elsewhere.
  await t.rejects(collected(await other.access.stream(open)), {
    code: 'Timeout',
    message: /nothing came within 100 ms/,
  })
  bench.peer.requests[0]?.response.write('b')
  t.equal(Buffer.from((await iterator.next()).value ?? []).toString(), 'b')
  await t.rejects(iterator.next(), { code: 'Timeout' })
})

t.test('every answer, and every failure to get one, is counted', async t => {
  const registry = new Registry()
  await using bench = await startBench([ok, failing(404), reset], {
    metrics: createKubernetesMetrics(registry),
  })
  await bench.access.request(get)
  await bench.access.request(get).catch(() => {})
  await bench.access.request(post).catch(() => {})
  const text = await registry.metrics()
  t.match(text, 'rest_client_requests_total{method="GET",code="200"} 1')
  t.match(text, 'rest_client_requests_total{method="GET",code="404"} 1')
  t.match(text, /rest_client_requests_total{method="POST",code="(UND_ERR_SOCKET|ECONNRESET)"} 1/)
  t.match(text, 'rest_client_request_duration_seconds_count{verb="GET"} 2')
  t.match(text, /rest_client_connections [01]\n/)
})
