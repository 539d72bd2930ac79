import t from 'tap'

import { createAccess } from '../../src/kubernetes/http/access.ts'
import { parseMeta } from '../../src/kubernetes/parse/metadata.ts'
import { JOBS } from '../../src/kubernetes/paths.ts'
import { createReflectors } from '../../src/kubernetes/watch/reflectors.ts'
import { eventually } from '../cluster/api.ts'
import { createTestClock, hanging, isWatch, json, type Step } from './harness.ts'
import { bookmark, jobJson, listJson, watchLine } from './objects.ts'
import { startPeer, statusBody } from './peer.ts'

const forAWhile = AbortSignal.timeout(60_000)

t.test('several namespaces look like one watch, as well as the one that is worst off', async t => {
  const allowed = Promise.withResolvers<void>()
  const listOf: Record<string, Step> = {
    a: json(listJson([jobJson({ name: 'one', labels: { run: 'x' } })], '10')),
    b: async exchange => {
      if (exchange.index < 4) return json(statusBody(403, 'Forbidden'), 403)(exchange)
      await allowed.promise
      return json(listJson([jobJson({ name: 'two', labels: { run: 'x' } })], '10'))(exchange)
    },
  }
  await using peer = await startPeer(exchange => {
    const namespace = exchange.url.pathname.split('/')[5] ?? ''
    if (!isWatch(exchange)) return listOf[namespace]?.(exchange)
    return hanging(
      watchLine('ADDED', jobJson({ name: `new-in-${namespace}`, version: '11' })),
      bookmark('12'),
    )(exchange)
  })
  const access = createAccess({ kubeConfig: peer.kubeConfig() })
  const changes: string[] = []
  const reflectors = createReflectors({
    access,
    resource: JOBS,
    namespaces: ['a', 'b'],
    parse: parseMeta,
    index: object => object.metadata.labels['run'],
    onChange: ({ object }) => changes.push(object.metadata.name),
    clock: createTestClock(),
  })
  t.strictSame(reflectors.status(), { resource: 'jobs', state: 'idle', synced: false, objects: 0 })
  reflectors.start()
  await eventually(async () => reflectors.status(), {
    until: ({ objects, outage }) => objects === 2 && outage?.status === 403,
    what: 'one up and one down',
  })
  t.notOk(reflectors.hasSynced())
  t.equal(reflectors.status().lastListAt, undefined, 'not everywhere yet')
  allowed.resolve()
  await reflectors.whenSynced(forAWhile)
  await eventually(async () => reflectors.status(), {
    until: ({ objects, state, lastBookmarkAt }) =>
      objects === 4 && state === 'watching' && lastBookmarkAt !== undefined,
    what: 'both up',
  })
  t.ok(reflectors.hasSynced())
  t.strictSame(changes.toSorted(), ['new-in-a', 'new-in-b', 'one', 'two'])
  t.strictSame(
    reflectors.byIndex('x').map(({ metadata: { name } }) => name),
    ['one', 'two'],
  )
  t.equal(reflectors.get('uid-of-two')?.metadata.name, 'two')
  t.equal(reflectors.get('uid-of-three'), undefined)
  t.equal([...reflectors.list()].length, 4)
  t.ok((reflectors.status().lastEventAt ?? 0) >= (reflectors.status().lastListAt ?? Infinity))
  await reflectors.stop()
  t.equal(reflectors.status().state, 'stopped')
  await access.close()
})
