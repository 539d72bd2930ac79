import * as fc from 'fast-check'
import jsonPatch from 'fast-json-patch'
import t from 'tap'
import {
  FLOW_RUN_ID_LABEL,
  FINALIZER_FREE_ANNOTATION,
  PARENT_TASK_RUN_ID_LABEL,
} from '../../src/core/names.ts'
import type { ParentOf } from '../../src/core/parent.ts'
import {
  answering,
  answerTo,
  FLOW_RUN_ID,
  hanging,
  PARENT_TASK_RUN_ID,
  refusing,
  reviewOf,
  serverOf,
  subflow,
} from './server-of.ts'

const parents: Record<string, ParentOf> = {
  subflow,
  refusing,
  topLevel: answering({ kind: 'topLevel' }),
  notFound: answering({ kind: 'notFound' }),
  nonsense: answering({ kind: 'subflow', parentTaskRunId: 'null' }),
  throwing: () => {
    throw new Error('not even a promise')
  },
}

/** Ours often enough that every branch is met, anything else besides. */
const key = fc.oneof(
  fc.constantFrom(FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL, FINALIZER_FREE_ANNOTATION, 'a/b~c', ''),
  fc.string(),
)
const value = fc.oneof(fc.constantFrom(FLOW_RUN_ID, PARENT_TASK_RUN_ID, 'true'), fc.string(), fc.uuid())
const strings = fc.option(fc.dictionary(key, value, { maxKeys: 5 }), { freq: 5 })
const metadata = fc.record(
  {
    name: fc.string(),
    namespace: fc.string(),
    labels: strings,
    annotations: strings,
    finalizers: fc.array(fc.oneof(fc.constant('prefect.io/hold'), fc.string()), { maxLength: 3 }),
    ownerReferences: fc.array(fc.object({ maxDepth: 1 }), { maxLength: 1 }),
  },
  { requiredKeys: [] },
)
const template = fc.record(
  { metadata: fc.option(metadata), spec: fc.object({ maxDepth: 1 }) },
  { requiredKeys: [] },
)
const pod = fc.record({
  apiVersion: fc.constant('v1'),
  kind: fc.constant('Pod'),
  metadata,
  spec: fc.object(),
})
const job = fc.record({
  apiVersion: fc.constant('batch/v1'),
  kind: fc.constant('Job'),
  metadata,
  spec: fc.record({ template, backoffLimit: fc.nat() }, { requiredKeys: [] }),
})
const request = fc.record(
  {
    uid: fc.uuid(),
    operation: fc.constantFrom('CREATE', 'UPDATE', 'DELETE', 'CONNECT'),
    subResource: fc.constantFrom('', 'status', 'ephemeralcontainers', 'eviction'),
    dryRun: fc.boolean(),
    userInfo: fc.record({ username: fc.string() }),
  },
  { requiredKeys: ['uid'] },
)
const parentName = fc.constantFrom(...Object.keys(parents))

const RUNS = { numRuns: 400 }

t.test('what mutation does to any Job or pod', async t => {
  const property = fc.asyncProperty(
    fc.oneof(job, pod),
    request,
    parentName,
    async (object, request, name) => {
      const { server } = serverOf({ parentOf: parents[name] ?? refusing })
      const first = await answerTo(server, '/mutate', reviewOf(object, request))
      if (first.response.uid !== request.uid) throw new Error('another uid')
      if (!first.response.allowed) throw new Error('a mutation that refuses')
      const patched = jsonPatch.applyPatch(structuredClone(object), first.patch, true).newDocument
      if (!onlyAdds(object, patched))
        throw new Error(`more than labels and annotations: ${JSON.stringify(first.patch)}`)
      const second = await answerTo(server, '/mutate', reviewOf(patched, request))
      if (second.patch.length > 0) throw new Error(`a second pass patches: ${JSON.stringify(second.patch)}`)
    },
  )
  await t.resolves(fc.assert(property, RUNS))
})

/**
 * With the parent label and the annotation taken away again, an object is what it was; but a Job's template that did not
 * say which run it is of says so now.
 */
const onlyAdds = (before: object, after: object): boolean =>
  jsonPatch.compare({ object: stripped(withRunInTemplate(before, after)) }, { object: stripped(after) })
    .length === 0

interface Labelled {
  readonly metadata?: { readonly labels?: Record<string, string> | null } | null
}

const runOf = (part: Labelled | undefined) => part?.metadata?.labels?.[FLOW_RUN_ID_LABEL]
const templateOf = (job: object) => (job as { spec?: { template?: Labelled } }).spec?.template

/** `before`, its template given the Job's own run where it had none and has that in `after`. */
function withRunInTemplate(before: object, after: object): object {
  const run = runOf(before)
  if (runOf(templateOf(before)) !== undefined || runOf(templateOf(after)) !== run) return before
  const copy = structuredClone(before)
  const template = templateOf(copy)
  if (template === undefined || run === undefined) return before
  const { metadata } = template
  const labels = { ...metadata?.labels, [FLOW_RUN_ID_LABEL]: run }
  Object.assign(template, { metadata: { ...metadata, labels } })
  return copy
}

const stripped = (object: object): unknown =>
  JSON.parse(JSON.stringify(object), (key, value: unknown) => {
    if (key === PARENT_TASK_RUN_ID_LABEL || key === FINALIZER_FREE_ANNOTATION) return undefined
    const mayBeNew = ['labels', 'annotations', 'metadata'].includes(key)
    return mayBeNew && Object.keys({ ...(value as object) }).length === 0 ? undefined : value
  })

t.test('validation refuses nothing unless it enforces', async t => {
  const property = fc.asyncProperty(
    fc.oneof(job, pod),
    fc.option(metadata),
    request,
    async (object, old, request) => {
      const update = old ? { oldObject: { ...object, metadata: old } } : {}
      const { server } = serverOf({ validation: request.dryRun ? 'warn' : 'off' })
      const { response } = await answerTo(server, '/validate', reviewOf(object, { ...request, ...update }))
      if (!response.allowed || response.uid !== request.uid) throw new Error(JSON.stringify(response))
    },
  )
  await t.resolves(fc.assert(property, RUNS))
})

/** Whoever does not mention label, annotation or a finalizer of Prefect's must never be refused for them. */
const innocent = fc.record(
  {
    labels: fc
      .dictionary(fc.string().filter(isForeign), value)
      .map(labels => Object.assign(labels, { [FLOW_RUN_ID_LABEL]: FLOW_RUN_ID })),
    annotations: fc.dictionary(fc.string().filter(isForeign), value),
    finalizers: fc.array(fc.string().filter(isForeign)),
  },
  { requiredKeys: ['labels'] },
)

function isForeign(text: string): boolean {
  return !text.startsWith('prefect.io/') && text !== '__proto__'
}

t.test('enforcing validation refuses nobody by accident', async t => {
  const property = fc.asyncProperty(
    innocent,
    fc.option(innocent),
    parentName,
    async (metadata, old, name) => {
      const object = { apiVersion: 'v1', kind: 'Pod', metadata, spec: {} }
      const { server } = serverOf({ validation: 'enforce', parentOf: parents[name] ?? refusing })
      const update = old ? { operation: 'UPDATE', oldObject: { ...object, metadata: old } } : {}
      const created = await answerTo(server, '/validate', reviewOf(object, update))
      if (!created.response.allowed) throw new Error(JSON.stringify(created.response))
      // And what mutation made of it passes validation, whatever Prefect says.
      const { patch } = await answerTo(server, '/mutate', reviewOf(object))
      const patched = jsonPatch.applyPatch(structuredClone(object), patch, true).newDocument
      const validated = await answerTo(server, '/validate', reviewOf(patched))
      if (!validated.response.allowed) throw new Error(JSON.stringify(validated.response))
    },
  )
  await t.resolves(fc.assert(property, RUNS))
})

t.test('a late answer is waited for by nobody', async t => {
  const { server } = serverOf({ parentOf: hanging, validation: 'enforce' })
  const labels = { [FLOW_RUN_ID_LABEL]: FLOW_RUN_ID, [PARENT_TASK_RUN_ID_LABEL]: PARENT_TASK_RUN_ID }
  const object = { apiVersion: 'v1', kind: 'Pod', metadata: { labels }, spec: {} }
  const answers = await Promise.all(
    Array.from({ length: 50 }, () => answerTo(server, '/validate', reviewOf(object))),
  )
  t.ok(answers.every(({ response }) => response.allowed && response.warnings?.length === 1))
})

t.test('whatever is posted gets an answer in JSON', async t => {
  const { server } = serverOf({ validation: 'enforce' })
  const bodies = fc.oneof(
    fc.json(),
    fc.string(),
    fc
      .object()
      .map(request =>
        JSON.stringify({ apiVersion: 'admission.k8s.io/v1', kind: 'AdmissionReview', request }),
      ),
    fc.anything().map(object => JSON.stringify(reviewOf({ kind: 'Pod', metadata: object as object }))),
  )
  const property = fc.asyncProperty(bodies, fc.constantFrom('/mutate', '/validate'), async (payload, url) => {
    const headers = { 'content-type': 'application/json' }
    const { statusCode, body } = await server.inject({ method: 'POST', url, payload, headers })
    const answer = JSON.parse(body) as { error?: string; response?: { allowed: boolean } }
    const isRefused = statusCode >= 400 && statusCode < 500 && typeof answer.error === 'string'
    if (!isRefused && answer.response?.allowed !== true) throw new Error(`${statusCode} ${body}`)
  })
  await t.resolves(fc.assert(property, RUNS))
})
