import * as fc from 'fast-check'
import jsonPatch from 'fast-json-patch'
import t from 'tap'
import { lacksParent, parentPatch } from '../../src/admission/mutate.ts'
import { PARENT_TASK_RUN_ID } from './server-of.ts'

// What becomes of whole objects is in cases/; here is what the pure functions promise whoever calls them.
const none = { labels: undefined, annotations: undefined, finalizers: [] }
const labelled = { ...none, labels: { 'prefect.io/parent-task-run-id': PARENT_TASK_RUN_ID } }

t.test('only a subflow run has a patch', async t => {
  t.strictSame(parentPatch({ metadata: none }, { kind: 'topLevel' }), [])
  t.strictSame(parentPatch({ metadata: none }, { kind: 'notFound' }), [])
  t.equal(parentPatch({ metadata: none }, { kind: 'subflow', parentTaskRunId: PARENT_TASK_RUN_ID }).length, 2)
})

t.test('an object lacks its parent', async t => {
  t.ok(lacksParent({ metadata: none }))
  t.notOk(lacksParent({ metadata: labelled }))
  t.ok(lacksParent({ metadata: labelled, template: { metadata: none } }), 'when its template does')
  t.ok(
    lacksParent({ metadata: labelled, template: { metadata: undefined } }),
    'when its template has no metadata',
  )
  t.notOk(lacksParent({ metadata: labelled, template: { metadata: labelled } }))
})

const RUN = 'prefect.io/flow-run-id'
const SUBFLOW = { kind: 'subflow', parentTaskRunId: PARENT_TASK_RUN_ID } as const

const strings = fc.option(
  fc.dictionary(fc.constantFrom(RUN, 'prefect.io/finalizer-free', 'a/b'), fc.constantFrom('true', 'false')),
  { nil: undefined },
)
const metadata = fc.record({ labels: strings, annotations: strings, finalizers: fc.constant([]) })

t.test('the patch makes of any Job what laying our keys over it makes', async t => {
  const property = fc.property(metadata, fc.option(metadata, { nil: undefined }), (own, ofTemplate) => {
    const run = own.labels?.[RUN]
    const laidOver = (metadata: typeof ofTemplate): object => ({
      ...metadata,
      labels: {
        ...metadata?.labels,
        ...(run !== undefined && { [RUN]: run }),
        'prefect.io/parent-task-run-id': PARENT_TASK_RUN_ID,
      },
      annotations: { ...metadata?.annotations, 'prefect.io/finalizer-free': 'true' },
    })
    const theirs = ofTemplate?.labels?.[RUN]
    const isAnothers = theirs !== undefined && theirs !== run
    const template = { metadata: isAnothers ? ofTemplate : laidOver(ofTemplate) }
    const job = onTheWire({ metadata: own, spec: { template: { metadata: ofTemplate } } })
    const patch = parentPatch({ metadata: own, template: { metadata: ofTemplate } }, SUBFLOW)
    const patched = jsonPatch.applyPatch(job, patch, true).newDocument
    const expected = onTheWire({ metadata: laidOver(own), spec: { template } })
    return jsonPatch.compare(patched, expected).length === 0
  })
  t.doesNotThrow(() => fc.assert(property))
})

/** Without what is undefined. */
const onTheWire = (document: object): object => JSON.parse(JSON.stringify(document)) as object
