import { setImmediate } from 'node:timers/promises'
import t from 'tap'

import { hanging, isWatch, json, startHarness, type Harness, type Step } from './harness.ts'
import { jobJson, listJson, watchLine } from './objects.ts'
import { statusBody } from './peer.ts'

const silent: Step = () => {}
const list = json(listJson([jobJson({ name: 'a' })], '10'))

/** Moments at which `stop` may come, and how it is known that they have. */
const moments: Record<string, { list: Step; watch: Step; reached: (harness: Harness) => boolean }> = {
  'the list is under way': { list: silent, watch: silent, reached: ({ lists }) => lists().length === 1 },
  'the watch has been asked for': { list, watch: silent, reached: ({ watches }) => watches().length === 1 },
  'the watch is up': {
    list,
    watch: hanging(),
    reached: ({ reflector }) => reflector.status().state === 'watching',
  },
  'the reflector waits to try again': {
    list: json(statusBody(500, 'InternalError'), 500, { 'retry-after': '3600' }),
    watch: silent,
    reached: ({ reflector }) => reflector.status().state === 'waiting',
  },
}

for (const [moment, { list: listed, watch, reached }] of Object.entries(moments)) {
  t.test(`14: stopped while ${moment}, it asks and tells nothing more`, async t => {
    await using harness = await startHarness(exchange => {
      if (exchange.url.pathname === '/after') return json({})(exchange)
      return isWatch(exchange) ? watch(exchange) : listed(exchange)
    })
    const { reflector, peer, changes, access } = harness
    reflector.start()
    await harness.until(moment, () => reached(harness))
    await reflector.stop()
    const before = { requests: peer.requests.length, changes: changes.length }
    for (const { response } of harness.watches())
      response.write(watchLine('ADDED', jobJson({ name: 'late', version: '11' })))
    await access.request({
      method: 'GET',
      path: '/after',
      signal: AbortSignal.timeout(5000),
      parse: () => {},
    })
    t.strictSame({ requests: peer.requests.length - 1, changes: changes.length }, before)
    t.equal(reflector.status().state, 'stopped')
    reflector.start()
    await setImmediate()
    t.equal(peer.requests.length - 1, before.requests, 'and is not started again')
    await t.rejects(reflector.whenSynced(AbortSignal.abort(new Error('gone'))))
  })
}

for (const [where, script] of Object.entries({
  'a list': {
    lists: [
      json(
        listJson(
          ['a', 'b', 'c'].map(name => jobJson({ name })),
          '10',
        ),
      ),
    ],
    watches: [hanging()],
  },
  'a watch': {
    lists: [json(listJson([jobJson({ name: 'a' })], '10'))],
    watches: [hanging(['b', 'c'].map(name => watchLine('ADDED', jobJson({ name, version: '11' }))).join(''))],
  },
})) {
  t.test(
    `14: stopped by its own handler in ${where}, nothing of what has already arrived is told`,
    async t => {
      await using harness = await startHarness(script, {
        onChange: ({ object }) => {
          if (object.metadata.name === 'b') void harness.reflector.stop()
        },
      })
      harness.reflector.start()
      await harness.until('the stop', () => harness.reflector.status().state === 'stopped')
      t.strictSame(
        harness.changes.map(change => change.split(' ')[1]),
        ['a', 'b'],
      )
      if (where === 'a watch') t.equal(harness.reflector.get('uid-of-c'), undefined, 'nor taken in')
    },
  )
}

t.test('14: stopped before it was started, it never starts; whoever waits for it is told', async t => {
  await using harness = await startHarness({ lists: [list], watches: [hanging()] })
  const waiting = harness.reflector.whenSynced(AbortSignal.timeout(5000))
  await harness.reflector.stop()
  harness.reflector.start()
  await t.rejects(waiting, { message: 'the watch of /apis/batch/v1/jobs was stopped' })
  t.equal(harness.peer.requests.length, 0)
})
