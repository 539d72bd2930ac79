import t from 'tap'

import type { Exchange } from '../../src/prefect/connection.ts'
import { withCsrf } from '../../src/prefect/csrf.ts'
import { neverAborted } from './help.ts'

/** Refuses every write for want of a token, and answers a request for one as told. */
const setUp = (
  tokenAnswer: { readonly status: number; readonly text?: string },
  text = 'Missing CSRF token.',
) => {
  const operations: string[] = []
  const exchange: Exchange = async ({ operation }) => {
    operations.push(operation)
    const json = { contentType: 'application/json' }
    return operation === 'createCsrfToken'
      ? { ...json, text: '', ...tokenAnswer }
      : { ...json, status: 403, text }
  }
  const deps = { exchange, apiUrl: 'http://prefect/api', clientId: 'client', now: Date.now }
  const ask = (method: string) =>
    withCsrf(deps)({ operation: 'ask', method, url: 'http://prefect/api/x', headers: {} }, neverAborted)
  return { ask, operations }
}

const token = JSON.stringify({ token: 't', expiration: '2100-01-01T00:00:00Z' })

t.test('a request that is refused with a token too is refused', async t => {
  for (const text of [
    'Missing CSRF token.',
    'Missing client identifier.',
    'Invalid CSRF token or client identifier.',
  ]) {
    const { ask, operations } = setUp({ status: 200, text: token }, text)
    t.match(await ask('POST'), { status: 403 })
    t.same(operations, ['ask', 'createCsrfToken', 'ask'])
  }
})

t.test('another refusal is none of our business, and a read needs no token', async t => {
  const forbidden = setUp({ status: 200, text: token }, 'no access')
  t.match(await forbidden.ask('POST'), { status: 403 })
  t.same(forbidden.operations, ['ask'])
  const read = setUp({ status: 200, text: token })
  t.match(await read.ask('GET'), { status: 403 })
  t.same(read.operations, ['ask'])
})

t.test('an older server has no tokens to give: its refusal stands', async t => {
  for (const status of [404, 422]) t.match(await setUp({ status }).ask('POST'), { status: 403 })
})

t.test('a server that cannot give a token now may be asked later', async t => {
  await t.rejects(setUp({ status: 503 }).ask('POST'), { message: 'asking for a CSRF token: answered 503' })
})

t.test('a server that refuses a token is not asked again', async t => {
  await t.rejects(setUp({ status: 401, text: 'who are you' }).ask('POST'), {
    name: 'PrefectError',
    status: 401,
    message: 'Prefect, createCsrfToken: who are you',
  })
})

t.test('a request that is refused after another one has renewed the token takes that one', async t => {
  const refusals = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const tokens: string[] = []
  let refused = 0
  const json = { contentType: 'application/json' }
  const exchange: Exchange = async ({ operation, headers }) => {
    if (operation === 'createCsrfToken') {
      tokens.push('t')
      return { ...json, status: 200, text: token }
    }
    if (headers['prefect-csrf-token'] === 't') return { ...json, status: 200, text: '{}' }
    await refusals[refused++]?.promise
    return { ...json, status: 403, text: 'Missing CSRF token.' }
  }
  const send = withCsrf({ exchange, apiUrl: 'http://prefect/api', clientId: 'client', now: Date.now })
  const request = { operation: 'ask', method: 'POST', url: 'http://prefect/api/x', headers: {} }
  const [first, second] = [send(request, neverAborted), send(request, neverAborted)]
  refusals[0]?.resolve()
  t.match(await first, { status: 200 })
  refusals[1]?.resolve()
  t.match(await second, { status: 200 })
  t.equal(tokens.length, 1)
})
