import { writeFile } from 'node:fs/promises'
import { env } from 'node:process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'

import t from 'tap'
import type { Test } from 'tap'

import { startPrefect } from '../cluster/prefect.ts'
import { createPrivateCa, startGateway } from '../prefect/gateway.ts'
import { createTestClient, neverAborted } from '../prefect/help.ts'

// Six servers are started one after the other, about 5 s each.
t.setTimeout(180_000)

const prefect = await startPrefect({ services: false })
t.teardown(prefect.stop)
const { apiUrl } = prefect
const target = new URL(apiUrl).origin
const nobody = randomUUID()

/** A read, a filter and a write: all that credentials, prefixes and proxies could spoil. */
const asksAll = async (t: Test, client: ReturnType<typeof createTestClient>) => {
  t.equal(await client.readFlowRun(nobody, neverAborted), undefined)
  t.same(await client.readFlowRuns([nobody], neverAborted), new Map())
  t.same(await client.proposeState(nobody, { type: 'CRASHED' }, neverAborted), { kind: 'notFound' })
}

t.test('a server without authorization', async t => {
  await asksAll(t, createTestClient(t, { apiUrl }))
  await asksAll(t, createTestClient(t, { apiUrl: `${apiUrl}/` }))
})

t.test('a server with an auth string', async t => {
  await using locked = await startPrefect({ services: false, authString: 'lifeguard:pa55' })
  await t.test('is entered with it, and it wins over an API key', async t => {
    const key = { apiUrl: locked.apiUrl, authString: 'lifeguard:pa55', apiKey: 'pnu_wrong' }
    await asksAll(t, createTestClient(t, key))
  })
  await t.test('refuses anybody else, who is told which variable to check, once', async t => {
    for (const key of [{}, { authString: 'lifeguard:wrong' }, { apiKey: 'pnu_wrong' }]) {
      const client = createTestClient(t, { apiUrl: locked.apiUrl, ...key })
      await t.rejects(client.readFlowRun(nobody, neverAborted), {
        name: 'PrefectError',
        status: 401,
        operation: 'readFlowRun',
        flowRunId: nobody,
        message: /answered 401 .*PREFECT_API_KEY or PREFECT_API_AUTH_STRING/,
      })
      t.match(await client.health(neverAborted), { ok: false, why: /PREFECT_API_AUTH_STRING/ })
      t.equal(await client.requests('readFlowRun'), 1)
    }
  })
})

t.test('a server that wants CSRF tokens', async t => {
  let skewMs = 0
  const clock = { now: () => Date.now() + skewMs, sleep: async () => {} }
  await using guarded = await startPrefect({
    services: false,
    csrf: true,
    serverEnv: { PREFECT_SERVER_CSRF_TOKEN_EXPIRATION: 'PT1H' },
  })
  const client = createTestClient(t, { apiUrl: guarded.apiUrl, clock })
  const propose = () => client.proposeState(nobody, { type: 'FAILED' }, neverAborted)
  const tokens = () => client.requests('createCsrfToken')

  await t.test('gets one token for all requests of a burst', async t => {
    const answers = await Promise.all(Array.from({ length: 10 }, propose))
    t.ok(answers.every(({ kind }) => kind === 'notFound'))
    t.equal(await tokens(), 1)
    await asksAll(t, client)
    t.equal(await tokens(), 1)
  })
  await t.test('gets a new one when it is about to expire, without being refused first', async t => {
    const refused = await client.requests('proposeState', '403')
    skewMs = 3_600_000
    await propose()
    t.equal(await tokens(), 2)
    t.equal(await client.requests('proposeState', '403'), refused)
    skewMs = 0
  })
  await t.test('gets a new one when told that the token is invalid', async t => {
    await guarded.stopServer()
    await using short = await startPrefect({
      services: false,
      csrf: true,
      port: Number(new URL(guarded.apiUrl).port),
    })
    t.equal(short.apiUrl, guarded.apiUrl)
    t.same(await propose(), { kind: 'notFound' })
    t.equal(await tokens(), 3)
  })
  await t.test('and leaves it at that where the protection is off by now', async t => {
    await using open = await startPrefect({ services: false, port: Number(new URL(guarded.apiUrl).port) })
    t.equal(open.apiUrl, guarded.apiUrl)
    skewMs = 3_600_000
    t.same(await propose(), { kind: 'notFound' })
    t.equal(await client.requests('createCsrfToken', '422'), 1)
    t.same(await propose(), { kind: 'notFound' })
    t.equal(await tokens(), 4)
  })
})

t.test('a certificate of a private authority', async t => {
  const { ca, key, cert } = await createPrivateCa()
  const caFile = join(t.testdir(), 'ca.pem')
  await writeFile(caFile, ca)
  const gateway = await startGateway(t, { target, tls: { key, cert } })
  const apiUrl = `${gateway.origin}/api`
  await t.test('is trusted when its file is named', t => asksAll(t, createTestClient(t, { apiUrl, caFile })))
  await t.test('is accepted when told not to verify', t =>
    asksAll(t, createTestClient(t, { apiUrl, insecureSkipVerify: true })),
  )
  await t.test('is not trusted otherwise, and the variable is named', async t => {
    const clock = { now: Date.now, sleep: async () => {} }
    const client = createTestClient(t, { apiUrl, clock })
    await t.rejects(client.readFlowRun(nobody, neverAborted), {
      name: 'PrefectUnavailable',
      message: /certificate is not trusted: check PREFECT_API_SSL_CERT_FILE/,
    })
  })
  t.ok(gateway.seen.length >= 6)
})

t.test('a path prefix', async t => {
  const gateway = await startGateway(t, { target, prefix: '/tools/prefect' })
  await asksAll(t, createTestClient(t, { apiUrl: `${gateway.origin}/tools/prefect/api` }))
  t.ok(gateway.seen.every(({ url }) => url.startsWith('/tools/prefect/api/')))
})

t.test('custom headers', async t => {
  const gateway = await startGateway(t, {
    target,
    answer: ({ headers }) =>
      headers['cf-access-client-id'] === 'id' ? undefined : { status: 403, body: '{"error":"no access"}' },
  })
  const apiUrl = `${gateway.origin}/api`
  const customHeaders = {
    'CF-Access-Client-Id': 'id',
    'User-Agent': 'prefect/1.0',
    'Prefect-Csrf-Token': 'x',
  }
  await asksAll(t, createTestClient(t, { apiUrl, customHeaders }))
  t.ok(gateway.seen.every(({ headers }) => headers['user-agent'] === 'prefect-lifeguard'))
  t.ok(gateway.seen.every(({ headers }) => headers['prefect-csrf-token'] === undefined))
  const client = createTestClient(t, { apiUrl })
  await t.rejects(client.proposeState(nobody, { type: 'FAILED' }, neverAborted), {
    name: 'PrefectError',
    status: 403,
    message: /PREFECT_CLIENT_CUSTOM_HEADERS/,
  })
})

t.test('no API version is named, so that the newest rules of the server hold', async t => {
  const deploymentId = await prefect.api.createDeployment({ name: 'child', flow: 'child' })
  const { flowRunId } = await prefect.api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
  await prefect.api.updateFlowRun(flowRunId, { empirical_policy: { retries: 1, retry_delay: 0 } })
  // With this header the server judges as it did then, and says nothing about the type of the retry.
  const client = createTestClient(t, { apiUrl, customHeaders: { 'X-PREFECT-API-VERSION': '0.8.3' } })
  const parked = await client.proposeState(flowRunId, { type: 'FAILED' }, neverAborted)
  t.match(parked, { kind: 'rejected', state: { name: 'AwaitingRetry' } })
  t.equal((await client.readFlowRun(flowRunId, neverAborted))?.retryType, 'in_process')
})

const withEnvironment = (t: Test, variables: Readonly<Record<string, string>>) => {
  const names = ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY']
  const before = new Map(names.map(name => [name, env[name]]))
  for (const name of names) delete env[name]
  Object.assign(env, variables)
  t.teardown(async () => {
    for (const [name, value] of before) {
      if (value === undefined) delete env[name]
      else env[name] = value
    }
  })
}

t.test('a proxy named by the environment', async t => {
  const proxy = await startGateway(t, { target })
  await t.test('is used for plain HTTP', async t => {
    withEnvironment(t, { HTTP_PROXY: proxy.origin })
    await asksAll(t, createTestClient(t, { apiUrl }))
    t.equal(proxy.seen.length + proxy.tunnels.length > 0, true)
  })
  await t.test('is a tunnel for HTTPS', async t => {
    const { ca, key, cert } = await createPrivateCa()
    const caFile = join(t.testdir(), 'ca.pem')
    await writeFile(caFile, ca)
    const gateway = await startGateway(t, { target, tls: { key, cert } })
    withEnvironment(t, { HTTPS_PROXY: proxy.origin })
    await asksAll(t, createTestClient(t, { apiUrl: `${gateway.origin}/api`, caFile }))
    t.ok(proxy.tunnels.includes(new URL(gateway.origin).host))
  })
  await t.test('is left out where NO_PROXY says so', async t => {
    const before = proxy.seen.length + proxy.tunnels.length
    withEnvironment(t, { HTTP_PROXY: proxy.origin, NO_PROXY: '127.0.0.1' })
    await asksAll(t, createTestClient(t, { apiUrl }))
    t.equal(proxy.seen.length + proxy.tunnels.length, before)
  })
})

t.test('a URL that is not the API', async t => {
  const saysWrongUrl = { name: 'PrefectError', message: /check PREFECT_API_URL/ }
  await t.test('is never taken for a run that does not exist', async t => {
    const client = createTestClient(t, { apiUrl: target })
    await t.rejects(client.readFlowRun(nobody, neverAborted), { ...saysWrongUrl, status: 404 })
    await t.rejects(client.parentOf(nobody, neverAborted), { ...saysWrongUrl, status: 404 })
    t.equal(await client.version(neverAborted), undefined)
  })
  await t.test('nor is a page of some proxy, whatever its status', async t => {
    for (const status of [200, 404]) {
      const page = { status, headers: { 'content-type': 'text/html' }, body: '<html>' }
      const gateway = await startGateway(t, { target, answer: () => page })
      const client = createTestClient(t, { apiUrl: gateway.origin })
      await t.rejects(client.readFlowRun(nobody, neverAborted), { ...saysWrongUrl, status })
    }
  })
  await t.test('and a redirect is not followed, so that credentials stay here', async t => {
    const elsewhere = await startGateway(t, { target })
    const location = `${elsewhere.origin}/api/`
    const gateway = await startGateway(t, { target, answer: () => ({ status: 307, headers: { location } }) })
    const client = createTestClient(t, { apiUrl: gateway.origin, apiKey: 'pnu_secret' })
    await t.rejects(client.readFlowRun(nobody, neverAborted), { ...saysWrongUrl, status: 307 })
    t.equal(elsewhere.seen.length, 0)
  })
})

t.test('an answer that would fill the memory is not read to its end', async t => {
  const body = JSON.stringify('x'.repeat(33 * 1024 * 1024))
  const gateway = await startGateway(t, { target, answer: () => ({ status: 200, body }) })
  const client = createTestClient(t, { apiUrl: gateway.origin })
  await t.rejects(client.readFlowRun(nobody, neverAborted), {
    name: 'PrefectError',
    message: /the answer is larger than 33554432 bytes/,
  })
  t.equal(gateway.seen.length, 1)
})

/**
 * Prefect Cloud cannot be had here. What its documentation promises is checked in front of a real server: Bearer
 * (401), no chunked bodies (411), 5 MiB at most (413), and a rate limit with `Retry-After` (429).
 */
t.test('Prefect Cloud, as far as it is documented', async t => {
  const prefix = '/api/accounts/a/workspaces/w'
  let busy = 0
  const cloud = await startGateway(t, {
    // Behind it stands a self-hosted server, whose paths start with /api.
    target: apiUrl,
    answer: ({ method, headers, bytes, url }) => {
      if (headers.authorization !== 'Bearer pnu_key') return { status: 401 }
      if (method !== 'GET' && headers['content-length'] === undefined) return { status: 411 }
      if (bytes > 5 * 1024 * 1024) return { status: 413 }
      if (url.endsWith('/admin/version')) return { status: 404, body: '{"detail":"Not Found"}' }
      busy -= 1
      return busy >= 0 ? { status: 429, headers: { 'retry-after': '7' } } : undefined
    },
    prefix,
  })
  const waits: number[] = []
  let ms = Date.now()
  const clock = {
    now: () => ms,
    sleep: async (wait: number) => {
      waits.push(wait)
      ms += wait
    },
  }
  const client = createTestClient(t, { apiUrl: cloud.origin + prefix, apiKey: 'pnu_key', clock })
  const logs = Array.from({ length: 500 }, (_, n) => ({
    flowRunId: nobody,
    level: 20,
    message: 'x'.repeat(25_000),
    timestamp: n,
  }))

  t.equal(await client.version(neverAborted), undefined)
  busy = 1
  await client.readFlowRuns([nobody], neverAborted)
  t.same(waits, [7_000])
  await client.sendLogs(logs, neverAborted)
  t.equal(await client.requests('sendLogs'), 4)
  busy = 1
  const proposal = await client.proposeState(nobody, { type: 'FAILED' }, neverAborted)
  t.same(proposal, { kind: 'notFound' })
  t.same(waits, [7_000, 7_000])
  t.ok(cloud.seen.every(({ headers }) => headers['transfer-encoding'] === undefined))
  t.equal(await client.requests('createCsrfToken'), 0)
})
