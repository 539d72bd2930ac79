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
