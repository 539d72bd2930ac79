import fastify from 'fastify'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import t from 'tap'
import { createAdmissionMetrics } from '../../src/admission/metrics.ts'
import { createServe } from '../../src/admission/serve.ts'
import type { Parent } from '../../src/core/parent.ts'
import {
  FLOW_RUN_ID,
  answerTo,
  hanging,
  outcomesIn,
  recordingLogger,
  reviewOf,
  serverOf,
  subflow,
  unasked,
} from './server-of.ts'

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: 'child-x7k2p-9vq5d',
    namespace: 'flows',
    labels: { 'prefect.io/flow-run-id': FLOW_RUN_ID },
  },
  spec: { containers: [] },
}

const v1 = { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview' }

const malformed: Record<string, { body: unknown; field: string; problem?: string }> = {
  'no object at all': { body: null, field: 'body', problem: 'expected an object, received null' },
  'a list': { body: [], field: 'body', problem: 'expected an object, received a list' },
  'an older version': {
    body: { ...reviewOf(pod), apiVersion: 'admission.k8s.io/v1beta1' },
    field: 'apiVersion',
    problem: 'expected "admission.k8s.io/v1"',
  },
  'another kind': { body: { ...reviewOf(pod), kind: 'Pod' }, field: 'kind' },
  'no request': { body: v1, field: 'request' },
  'no uid': { body: reviewOf(pod, { uid: undefined }), field: 'request.uid' },
  'a uid that is a number, which nobody turns into a string': {
    body: reviewOf(pod, { uid: 5 }),
    field: 'request.uid',
    problem: 'expected a string that is not empty, received number',
  },
  'a kind that is a string': { body: reviewOf(pod, { kind: 'Pod' }), field: 'request.kind' },
  'a kind without a version': {
    body: reviewOf(pod, { kind: { group: '', kind: 'Pod' } }),
    field: 'request.kind.version',
  },
  'a user whose name is a number': {
    body: reviewOf(pod, { userInfo: { username: 1 } }),
    field: 'request.userInfo.username',
  },
  'finalizers that are numbers': {
    body: reviewOf({ kind: 'Pod', metadata: { finalizers: [1] } }),
    field: 'request.object.metadata.finalizers',
    problem: 'expected a list of strings',
  },
  'no operation': { body: reviewOf(pod, { operation: '' }), field: 'request.operation' },
  'dryRun as a word': { body: reviewOf(pod, { dryRun: 'true' }), field: 'request.dryRun' },
  'a pod without metadata': { body: reviewOf({ kind: 'Pod' }), field: 'request.object.metadata' },
  'a label that is a number': {
    body: reviewOf({ kind: 'Pod', metadata: { labels: { a: 1 } } }),
    field: 'request.object.metadata.labels',
  },
  'annotations in a list': {
    body: reviewOf({ kind: 'Pod', metadata: { annotations: ['a'] } }),
    field: 'request.object.metadata.annotations',
  },
  'labels that are a number': {
    body: reviewOf({ kind: 'Pod', metadata: { labels: 1 } }),
    field: 'request.object.metadata.labels',
  },
  'a Job whose template is a list': {
    body: reviewOf({ apiVersion: 'batch/v1', kind: 'Job', metadata: {}, spec: { template: [] } }),
    field: 'request.object.spec.template',
  },
  'an old object that is a string': { body: reviewOf(pod, { oldObject: 'old' }), field: 'request.oldObject' },
}

for (const [name, { body, field, problem = '' }] of Object.entries(malformed)) {
  t.test(`malformed: ${name}`, async t => {
    const { server } = serverOf()
    const answer = await server.inject({
      method: 'POST',
      url: '/mutate',
      headers: { 'content-type': 'application/json' },
      payload: JSON.stringify(body),
    })
    t.equal(answer.statusCode, 400)
    t.equal(answer.json().field, field)
    t.match(answer.json().error, `AdmissionReview: ${field}: ${problem}`, 'the message names it too')
  })
}

const post = (body: string, contentType = 'application/json') =>
  serverOf().server.inject({
    method: 'POST',
    url: '/mutate',
    headers: { 'content-type': contentType },
    payload: body,
  })

t.test('what is no review gets a 4xx that says why', async t => {
  t.match(await errorOf(post('{')), { statusCode: 400, error: /JSON/ })
  t.match(await errorOf(post('')), { statusCode: 400, error: /body/i })
  t.match(await errorOf(post('a: b', 'application/yaml')), { statusCode: 415, error: /media type/i })
  t.match(await errorOf(post('{"__proto__": {}}')), { statusCode: 400 })
})

async function errorOf(answering: ReturnType<typeof post>) {
  const answer = await answering
  return { statusCode: answer.statusCode, error: answer.json<{ error: string }>().error }
}

const withAnnotation = (mebibytes: number) => ({
  ...pod,
  metadata: { ...pod.metadata, annotations: { big: 'x'.repeat(mebibytes * 1024 * 1024) } },
})

t.test('what a review may leave out', async t => {
  const { server } = serverOf({ validation: 'enforce' })
  const bare = reviewOf(pod, { userInfo: null, dryRun: null, namespace: null, name: null, subResource: null })
  t.equal((await answerTo(server, '/mutate', bare)).patch.length, 2)
  const nothing = reviewOf(undefined, { operation: 'DELETE', oldObject: pod })
  t.equal((await answerTo(server, '/validate', nothing)).response.allowed, true)
})

t.test('two objects of 3 MiB and an envelope fit, more does not', async t => {
  const { server } = serverOf()
  const { patch } = await answerTo(
    server,
    '/mutate',
    reviewOf(withAnnotation(3), { oldObject: withAnnotation(3) }),
  )
  t.equal(patch.length, 2)
  const tooLarge = await server.inject({
    method: 'POST',
    url: '/mutate',
    payload: reviewOf(withAnnotation(7)),
  })
  t.equal(tooLarge.statusCode, 413)
})

t.test('uid and version are echoed, audit annotations are told', async t => {
  const { server } = serverOf({ parentOf: hanging })
  const answer = await answerTo(server, '/mutate', reviewOf(pod, { uid: 'abc' }))
  t.match(answer, { apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', response: { uid: 'abc' } })
  t.strictSame(answer.response.auditAnnotations, { outcome: 'lookup_late' })
})

t.test('a dry run is answered like any other request', async t => {
  const { server, lines } = serverOf()
  const { patch } = await answerTo(server, '/mutate', reviewOf(pod, { dryRun: true }))
  t.equal(patch.length, 2)
  t.match(lines, [{ dryRun: true, outcome: 'labelled' }])
})

t.test('a log line names the request, the review and the run, and shows no object', async t => {
  const { server, lines } = serverOf()
  await answerTo(
    server,
    '/mutate',
    reviewOf({ ...pod, spec: { containers: [{ env: [{ value: 'hunter2' }] }] } }),
  )
  t.match(lines, [
    {
      level: 30,
      msg: 'reviewed',
      uid: '0df28fbd-5f5f-11e8-bc74-36e6bb280816',
      webhook: '/mutate',
      kind: 'Pod',
      namespace: 'flows',
      name: 'child-x7k2p-9vq5d',
      flowRunId: FLOW_RUN_ID,
      outcome: 'labelled',
    },
  ])
  t.notMatch(JSON.stringify(lines), 'hunter2')
})

t.test('a look-up that fails is logged with its cause, at warning', async t => {
  const { server, lines } = serverOf({ parentOf: () => Promise.reject(new Error('connect ECONNREFUSED')) })
  await answerTo(server, '/mutate', reviewOf(pod))
  t.match(lines, [{ level: 40, outcome: 'lookup_failed', err: { message: 'connect ECONNREFUSED' } }])
})

t.test('a secret that an error carries along is kept out of the log', async t => {
  const lines: string[] = []
  const write = (line: string): void => void lines.push(line)
  const logger = pino({ redact: ['err.headers'] }, { write })
  const error = Object.assign(new Error('503'), { headers: { authorization: 'hunter2' } })
  const { server } = serverOf({ logger, parentOf: () => Promise.reject(error) })
  await answerTo(server, '/mutate', reviewOf(pod))
  t.match(lines, [/lookup_failed/])
  t.notMatch(lines.join(), 'hunter2')
})

t.test('the look-up is told to stop at its deadline', async t => {
  const told = Promise.withResolvers<void>()
  const { server } = serverOf({
    parentOf: (_id, signal) => {
      signal.addEventListener('abort', () => told.resolve())
      return Promise.withResolvers<Parent>().promise
    },
  })
  await answerTo(server, '/mutate', reviewOf(pod))
  await t.resolves(told.promise)
})

t.test('a parent that is known is not asked for', async t => {
  const parentOf = Object.assign(unasked.bind(undefined), {
    known: () => ({ kind: 'subflow', parentTaskRunId: FLOW_RUN_ID }) as const,
  })
  const { server } = serverOf({ parentOf })
  t.equal((await answerTo(server, '/mutate', reviewOf(pod))).patch.length, 2)
})

t.test('what is known of a parent has to make sense, too', async t => {
  const parentOf = Object.assign(unasked.bind(undefined), {
    known: () => ({ kind: 'subflow', parentTaskRunId: 'null' }) as const,
  })
  const { server, lines } = serverOf({ parentOf })
  t.strictSame((await answerTo(server, '/mutate', reviewOf(pod))).patch, [])
  t.match(lines, [{ outcome: 'lookup_failed', err: { message: /no UUID/ } }])
})

t.test('beyond its limit a webhook lets everything pass at once, and takes up again afterwards', async t => {
  const parent = Promise.withResolvers<Parent>()
  const { server, registry } = serverOf({
    maxConcurrent: 2,
    lookupDeadlineMs: 60_000,
    parentOf: () => parent.promise,
  })
  const held = [1, 2].map(() => answerTo(server, '/mutate', reviewOf(pod)))
  await untilInFlight(registry, 2)
  const { response, patch } = await answerTo(server, '/mutate', reviewOf(pod))
  t.strictSame(patch, [])
  t.match(response, { allowed: true, warnings: [/too many admission requests/] })
  parent.resolve({ kind: 'subflow', parentTaskRunId: FLOW_RUN_ID })
  t.ok(
    (await Promise.all(held)).every(({ patch }) => patch.length === 2),
    'those under way are served',
  )
  t.equal((await answerTo(server, '/mutate', reviewOf(pod))).patch.length, 2)
  t.strictSame(await outcomesIn(registry), { overloaded: 1, labelled: 3 })
  await untilInFlight(registry, 0)
})

async function untilInFlight(
  registry: ReturnType<typeof serverOf>['registry'],
  expected: number,
): Promise<void> {
  const metric = await registry.getSingleMetric('controller_runtime_webhook_requests_in_flight')?.get()
  if (metric?.values[0]?.value === expected) return
  await new Promise(setImmediate)
  return untilInFlight(registry, expected)
}

const failing = () => Promise.reject(new Error('boom'))

t.test('a defect of ours lets the object pass, and is counted and logged', async t => {
  const registry = new Registry()
  const metrics = createAdmissionMetrics(registry)
  const { logger, lines } = recordingLogger()
  const app = fastify({ loggerInstance: logger })
  app.post('/mutate', createServe({ webhook: '/mutate', decide: failing, metrics, maxConcurrent: 1, logger }))
  for (const time of [1, 2]) {
    const answer = await app.inject({ method: 'POST', url: '/mutate', payload: reviewOf(pod) })
    t.match(answer.json(), { response: { allowed: true, warnings: [/internal error/] } }, `time ${time}`)
  }
  t.match(await registry.metrics(), 'controller_runtime_webhook_panics_total 2')
  t.strictSame(await outcomesIn(registry), { error: 2 })
  t.ok(lines.some(line => line['level'] === 50 && JSON.stringify(line).includes('boom')))
})

t.test('a defect outside the handlers is a 500 in JSON', async t => {
  const { server } = serverOf()
  server.addHook('preHandler', failing)
  const answer = await server.inject({ method: 'POST', url: '/mutate', payload: reviewOf(pod) })
  t.match(answer, { statusCode: 500 })
  t.strictSame(answer.json(), { error: 'boom' })
})

t.test('a key that poisons prototypes is no way past validation', async t => {
  const { server } = serverOf({ validation: 'enforce' })
  const poison =
    '{"csi": {"driver": "d", "volumeAttributes": {"__proto__": {"a": 1}, "constructor": {"prototype": {}}}}}'
  const metadata = { ...pod.metadata, finalizers: ['prefect.io/hold'] }
  const payload = JSON.stringify(reviewOf({ ...pod, metadata, spec: { volumes: ['POISON'] } })).replace(
    '"POISON"',
    poison,
  )
  const headers = { 'content-type': 'application/json' }
  const answer = await server.inject({ method: 'POST', url: '/validate', headers, payload })
  t.match(answer.json(), { response: { allowed: false } })
})

t.test('requests are counted and timed under controller-runtime’s names, from a millisecond up', async t => {
  const { server, registry } = serverOf()
  await answerTo(server, '/mutate', reviewOf(pod))
  await post('{')
  await server.inject({ method: 'POST', url: '/validate', payload: {} })
  await server.inject({ method: 'GET', url: '/mutate' })
  const text = await registry.metrics()
  t.match(text, 'controller_runtime_webhook_requests_total{webhook="/mutate",code="200"} 1')
  t.match(text, 'controller_runtime_webhook_requests_total{webhook="/validate",code="400"} 1')
  t.match(text, 'controller_runtime_webhook_latency_seconds_bucket{le="0.001",webhook="/mutate"}')
  t.match(text, 'controller_runtime_webhook_latency_seconds_count{webhook="/mutate"} 1')
  t.match(text, 'lifeguard_admission_outcomes_total{kind="Pod",outcome="labelled"} 1')
})

t.test('while draining every answer asks for another connection, and is still an answer', async t => {
  const { server } = serverOf({ parentOf: subflow })
  const connection = async () => {
    const answer = await server.inject({ method: 'POST', url: '/mutate', payload: reviewOf(pod) })
    t.equal(answer.statusCode, 200)
    return answer.headers.connection
  }
  t.not(await connection(), 'close')
  server.drain()
  t.equal(await connection(), 'close')
})
