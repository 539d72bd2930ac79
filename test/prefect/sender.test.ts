import t from 'tap'

import { createBreakers } from '../../src/prefect/breakers.ts'
import type { Exchange, HttpAnswer, HttpRequest } from '../../src/prefect/connection.ts'
import { PrefectError, PrefectUnavailable } from '../../src/prefect/errors.ts'
import { createRateLimit } from '../../src/prefect/rate-limit.ts'
import { createSender } from '../../src/prefect/sender.ts'
import type { Call } from '../../src/prefect/sender.ts'
import { createFakeClock, neverAborted, silent } from './help.ts'

type Reply = number | Partial<HttpAnswer> | Error

/** A sender whose server replies as scripted (the last reply stays), on a clock that does not wait. */
const setUp = (replies: readonly Reply[], requestsPerMinute = 60_000) => {
  const clock = createFakeClock()
  const sent: HttpRequest[] = []
  const exchange: Exchange = async request => {
    const reply = replies[Math.min(sent.length, replies.length - 1)]
    sent.push(request)
    if (reply instanceof Error) throw reply
    const answer = { status: 200, contentType: 'application/json', text: '{}' }
    return { ...answer, ...(typeof reply === 'number' ? { status: reply } : reply) }
  }
  const breakers = createBreakers({ now: clock.now, random: () => 1, onChange: () => {} })
  const rateLimit = createRateLimit(requestsPerMinute, clock)
  const send = createSender({ exchange, breakers, rateLimit, clock, random: () => 1, logger: silent })
  const ask = (call: Partial<Call> = {}) =>
    send({ operation: 'readFlowRun', priority: 'observer', repeat: 'always', signal: neverAborted, ...call })(
      new Request('http://prefect/api/flow_runs/filter', { method: 'POST', body: '{"limit":1}' }),
    )
  return { ask, sent, clock, breaker: breakers.observer }
}

const coded = (code: string) => Object.assign(new Error('connection trouble'), { code })

const statusOf = async (response: Promise<Response>) => (await response).status

t.test('an answer passes as it is, with one request', async t => {
  for (const status of [200, 201, 204, 304, 307, 400, 401, 404, 409, 422]) {
    const { ask, sent } = setUp([status])
    t.equal(await statusOf(ask()), status)
    t.same(sent, [
      {
        operation: 'readFlowRun',
        method: 'POST',
        url: 'http://prefect/api/flow_runs/filter',
        headers: { 'content-type': 'application/json' },
        body: '{"limit":1}',
      },
    ])
  }
})

interface Case {
  readonly reply: Reply
  readonly always: number
  readonly ifUndone: number
}

/** How many requests a call may send that is answered so once, and well afterwards. */
const cases: Readonly<Record<string, Case>> = {
  'too many requests, turned away at the door': { reply: 429, always: 2, ifUndone: 2 },
  'a request timeout': { reply: 408, always: 2, ifUndone: 1 },
  'an internal error': { reply: 500, always: 2, ifUndone: 1 },
  'a bad gateway': { reply: 502, always: 2, ifUndone: 1 },
  'a locked database': { reply: 503, always: 2, ifUndone: 1 },
  'nobody listening': { reply: coded('ECONNREFUSED'), always: 2, ifUndone: 2 },
  'no such host': { reply: coded('ENOTFOUND'), always: 2, ifUndone: 2 },
  'no connection in time': { reply: coded('UND_ERR_CONNECT_TIMEOUT'), always: 2, ifUndone: 2 },
  'a certificate nobody trusts': { reply: coded('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), always: 2, ifUndone: 2 },
  'a connection lost on the way': { reply: coded('ECONNRESET'), always: 2, ifUndone: 1 },
  'an answer cut off': { reply: coded('UND_ERR_SOCKET'), always: 2, ifUndone: 1 },
  'no answer in time': { reply: new DOMException('too late', 'TimeoutError'), always: 2, ifUndone: 1 },
}

for (const [sentence, { reply, always, ifUndone }] of Object.entries(cases)) {
  t.test(`${sentence}: what may be repeated is`, async t => {
    const { ask, sent } = setUp([reply, 200])
    t.equal(await statusOf(ask({ repeat: 'always' })), 200)
    t.equal(sent.length, always)
  })
  t.test(
    `${sentence}: what must not be done twice is repeated only if it certainly was not done`,
    async t => {
      const { ask, sent } = setUp([reply, 200])
      const answer = ask({ repeat: 'ifUndone' })
      if (ifUndone === 1) await t.rejects(answer, { name: 'PrefectUnavailable' })
      else t.equal(await statusOf(answer), 200)
      t.equal(sent.length, ifUndone)
    },
  )
}

t.test('each repetition waits longer', async t => {
  const { ask, clock } = setUp([503, 503, 503, 200])
  await ask()
  t.same(clock.sleeps, [250, 500, 1_000])
})

t.test('Retry-After is kept to, for this call and for all others', async t => {
  const { ask, clock, sent } = setUp([{ status: 429, retryAfter: '7' }, 200])
  await ask()
  t.same(clock.sleeps, [7_000])
  t.equal(sent.length, 2)
})

t.test(
  'a server that wants to be left alone for longer than a call can wait: the caller is told',
  async t => {
    const { ask, sent } = setUp([{ status: 429, retryAfter: '120' }, 200])
    const told = {
      name: 'PrefectUnavailable',
      operation: 'readFlowRun',
      flowRunId: 'run',
      retryAfterMs: 120_000,
    }
    await t.rejects(ask({ flowRunId: 'run' }), {
      ...told,
      message: /readFlowRun of flow run run: answered 429; again in/,
    })
    await t.rejects(ask({ flowRunId: 'run' }), { ...told, message: /not asked.*\(last time: answered 429\)/ })
    t.equal(sent.length, 1)
  },
)

t.test('an outage costs one request per opening of the breaker, however many ask', async t => {
  const { ask, sent, clock, breaker } = setUp([coded('ECONNREFUSED')])
  await t.rejects(ask(), { name: 'PrefectUnavailable', message: /no answer: ECONNREFUSED/ })
  const first = sent.length
  const told = { name: 'PrefectUnavailable', message: /not asked.*last time: no answer: ECONNREFUSED/ }
  for (let n = 0; n < 10; n += 1) await t.rejects(ask(), told)
  t.equal(sent.length, first)
  clock.advance(breaker.waitMs())
  await Promise.allSettled(Array.from({ length: 100 }, () => ask({ repeat: 'always' })))
  t.equal(sent.length, first + 1)
})

t.test('the answer to the probe lets everybody in again', async t => {
  const { ask, sent, clock, breaker } = setUp([503, 503, 503, 503, 503, 503, 200])
  await t.rejects(ask(), { name: 'PrefectUnavailable' })
  clock.advance(breaker.waitMs())
  t.equal(await statusOf(ask()), 200)
  t.equal(await statusOf(ask()), 200)
  t.equal(sent.length, 8)
})

t.test('admission is not patient: it asks three times within two seconds', async t => {
  const { ask, sent, clock } = setUp([503])
  await t.rejects(ask({ priority: 'admission' }), { name: 'PrefectUnavailable', message: /answered 503/ })
  t.equal(sent.length, 3)
  t.same(clock.sleeps, [50, 100])
})

t.test('a Prefect that is too slow for admission is not too slow for the observer', async t => {
  const late = new DOMException('too late', 'TimeoutError')
  const { ask, sent } = setUp([late, late, late, late, late, 200])
  const lookUp = () => ask({ priority: 'admission', operation: 'parentOf' })
  await t.rejects(lookUp(), PrefectUnavailable)
  await t.rejects(lookUp(), PrefectUnavailable)
  const before = sent.length
  await t.rejects(lookUp(), /not asked/, 'admission is spared the wait')
  t.equal(sent.length, before)
  t.equal(await statusOf(ask()), 200, 'the observer asks, and is answered')
})

t.test('a caller that gave up is told why it did, and the breaker learns nothing', async t => {
  const { ask, breaker } = setUp([new Error('the request was aborted')])
  const signal = AbortSignal.abort(new Error('stopping'))
  for (let n = 0; n < 10; n += 1) await t.rejects(ask({ signal }), { message: 'stopping' })
  t.equal(breaker.waitMs(), 0)
})

t.test('a rate limit that is reached sends callers away with the time to come back', async t => {
  const { ask, sent } = setUp([200], 10)
  for (let n = 0; n < 4; n += 1) await ask()
  await ask()
  await t.rejects(Promise.all(Array.from({ length: 10 }, () => ask())), {
    name: 'PrefectUnavailable',
    message: /rate limit/,
  })
  t.ok(sent.length < 12)
})

t.test('a page that is no JSON cannot be Prefect’s answer', async t => {
  for (const contentType of ['text/html', '']) {
    const { ask, sent, breaker } = setUp([{ contentType, text: '<html>' }])
    await t.rejects(ask(), {
      name: 'PrefectError',
      status: 200,
      message: /instead of JSON: check PREFECT_API_URL/,
    })
    t.equal(sent.length, 1)
    t.equal(breaker.waitMs(), 0)
  }
})

t.test('what the connection says is final is final', async t => {
  const { ask, sent } = setUp([new PrefectError({ operation: 'readFlowRun', status: 0 }, 'too large')])
  await t.rejects(ask(), { name: 'PrefectError', message: 'Prefect, readFlowRun: too large' })
  t.equal(sent.length, 1)
})
