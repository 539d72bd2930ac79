import t from 'tap'

import { parseMeta, type Meta } from '../../src/kubernetes/parse/metadata.ts'
import { createStore, type Change, type Store } from '../../src/kubernetes/watch/store.ts'
import { jobJson, type JobOptions } from './objects.ts'

const meta = (options: JobOptions): Meta => parseMeta(jobJson(options))
const createRunStore = (): Store<Meta> => createStore(object => object.metadata.labels['run'])
const words = (changes: readonly (Change<Meta> | undefined)[]): string[] =>
  changes.map(change => {
    if (!change) return 'nothing'
    const { type, object, old, finalStateUnknown, leftSelector } = change
    const flags = [
      finalStateUnknown && 'unseen',
      leftSelector && 'perhaps unlabelled',
      old && `was ${old.metadata.resourceVersion}`,
    ]
    return [type, object.metadata.uid, object.metadata.resourceVersion, ...flags.filter(flag => flag)].join(
      ' ',
    )
  })

t.test('what the watch says is taken by what is known, not by its word', async t => {
  const store = createRunStore()
  const told = [
    store.apply('MODIFIED', meta({ uid: 'a', version: '1' })),
    store.apply('ADDED', meta({ uid: 'a', version: '1' })),
    store.apply('ADDED', meta({ uid: 'a', version: '2' })),
    store.apply(
      'DELETED',
      meta({ uid: 'a', version: '3', metadata: { deletionTimestamp: '2026-01-02T03:04:05Z' } }),
    ),
    store.apply('DELETED', meta({ uid: 'b', version: '4' })),
  ]
  t.strictSame(words(told), [
    'added a 1',
    'nothing',
    'modified a 2 was 1',
    'deleted a 3 was 2',
    'deleted b 4 perhaps unlabelled',
  ])
  t.equal(store.size(), 0)
})

t.test('the same name with another UID is another object', async t => {
  const store = createRunStore()
  const told = [
    store.apply('ADDED', meta({ name: 'etl', uid: 'first', version: '1' })),
    store.apply('ADDED', meta({ name: 'etl', uid: 'second', version: '9' })),
  ]
  t.strictSame(words(told), ['added first 1', 'added second 9'])
  t.equal(store.size(), 2)
})

t.test('what a list lacks has gone unseen, as it was last known', async t => {
  const store = createRunStore()
  const object = meta({ uid: 'goes', version: '1', labels: { run: 'x' } })
  store.apply('ADDED', object)
  t.strictSame(words([store.lose(object)]), ['deleted goes 1 unseen was 1'])
  t.equal(store.get('goes'), undefined)
  t.strictSame(store.byIndex('x'), [])
})

t.test('objects are found by their key, which may change, end, or be none', async t => {
  const store = createRunStore()
  const uids = (key: string): string[] => store.byIndex(key).map(({ metadata: { uid } }) => uid)
  store.apply('ADDED', meta({ uid: 'a', version: '1', labels: { run: 'x' } }))
  store.apply('ADDED', meta({ uid: 'b', version: '1', labels: { run: 'x' } }))
  store.apply('ADDED', meta({ uid: 'c', version: '1' }))
  t.strictSame(uids('x'), ['a', 'b'])
  store.apply('MODIFIED', meta({ uid: 'a', version: '2', labels: { run: 'y' } }))
  t.strictSame([uids('x'), uids('y')], [['b'], ['a']])
  store.apply('DELETED', meta({ uid: 'b', version: '3', labels: { run: 'x' } }))
  store.apply('DELETED', meta({ uid: 'c', version: '3' }))
  t.strictSame([uids('x'), uids('y')], [[], ['a']])
})

t.test('an object deleted under a changed key leaves no trace under the old one', async t => {
  const store = createRunStore()
  store.apply('ADDED', meta({ uid: 'a', version: '1', labels: { run: 'x' } }))
  store.apply('DELETED', meta({ uid: 'a', version: '2' }))
  t.strictSame(store.byIndex('x'), [])
})
