import { Registry } from 'prom-client'
import t from 'tap'

import { createKubernetesMetrics } from '../../src/kubernetes/metrics.ts'
import { hanging, json, startHarness, versionAsked, type Harness, type Script, type Step } from './harness.ts'
import { bookmark, jobJson, listJson, watchLine } from './objects.ts'
import { statusBody } from './peer.ts'

const SETTLE_MS = 12_345

const forAWhile = AbortSignal.timeout(60_000)
const job = (name: string, version: string): object => jobJson({ name, version })
const list = (version: string, ...jobs: readonly object[]): Step => json(listJson(jobs, version))
const first = list('10', job('a', '1'), job('b', '2'))

interface Case {
  readonly script: Script
  /** When each time to settle is over; absent where none must be needed. */
  readonly settled?: readonly ((harness: Harness) => boolean)[]
  readonly found: { readonly compared: number; readonly late: number; readonly missed: number }
  /** What is told after the first list. */
  readonly changes?: readonly string[]
  readonly watchedFrom?: readonly string[]
}

const cases: Record<string, Case> = {
  'nothing differs': {
    script: { lists: [first], watches: [hanging()] },
    found: { compared: 2, late: 0, missed: 0 },
  },
  'changes that were on their way come while they are given time': {
    script: {
      lists: [first, list('20', job('a', '5'), job('c', '6'))],
      watches: [
        ({ response, ...exchange }) => {
          hanging()({ response, ...exchange })
          setTimeout(() => {
            response.write(watchLine('MODIFIED', job('a', '5')) + watchLine('ADDED', job('c', '6')))
            response.write(watchLine('DELETED', job('b', '7')))
          }, 100)
        },
      ],
    },
    settled: [({ changes }) => changes.length === 5],
    found: { compared: 2, late: 0, missed: 0 },
    changes: ['modified a 5', 'added c 6', 'deleted b 7 perhaps unlabelled'],
  },
  'changes that come only once the watch is opened anew are late': {
    script: {
      lists: [first, list('20', job('a', '5'), job('c', '6'))],
      watches: [
        hanging(),
        hanging(
          watchLine('MODIFIED', job('a', '5')),
          watchLine('ADDED', job('c', '6')),
          watchLine('DELETED', job('b', '7')),
        ),
      ],
    },
    settled: [() => true, ({ changes }) => changes.length === 5],
    found: { compared: 2, late: 3, missed: 0 },
    changes: ['modified a 5', 'added c 6', 'deleted b 7 perhaps unlabelled'],
    watchedFrom: ['10', '10'],
  },
  'changes the watch never tells are missed: counted, and repaired by a list': {
    script: {
      lists: [first, list('20', job('a', '5'), job('c', '6')), list('30', job('a', '5'), job('c', '6'))],
      watches: [hanging(), hanging(bookmark('25')), hanging()],
    },
    settled: [() => true, ({ reflector }) => reflector.status().lastBookmarkAt !== undefined],
    found: { compared: 2, late: 0, missed: 3 },
    changes: ['modified a 5', 'added c 6', 'deleted b 2 unseen'],
    watchedFrom: ['10', '10', '30'],
  },
  'a server that has gone back in time is listed anew': {
    script: {
      lists: [first, list('9', job('a', '1')), list('9', job('a', '1'))],
      watches: [hanging(), hanging()],
    },
    found: { compared: 1, late: 0, missed: 0 },
    changes: ['deleted b 2 unseen'],
    watchedFrom: ['10', '9'],
  },
}

for (const [name, { script, found, settled = [], changes = [], watchedFrom = ['10'] }] of Object.entries(
  cases,
)) {
  t.test(`12: ${name}`, async t => {
    const registry = new Registry()
    const metrics = createKubernetesMetrics(registry)
    await using harness = await startHarness(script, { metrics, limits: { settleMs: SETTLE_MS } })
    const { reflector, clock } = harness
    const settling = settled.values()
    clock.hold(SETTLE_MS, async () => {
      const { value: holds } = settling.next()
      await harness.until('the settling', () => holds?.(harness) ?? t.fail('there was nothing to wait for'))
    })
    reflector.start()
    await harness.until(
      'the watch',
      () => reflector.status().state === 'watching' && harness.changes.length === 2,
    )
    t.strictSame(await reflector.compare(forAWhile), found)
    await harness.until('the watches', () => harness.watches().length === watchedFrom.length)
    t.strictSame(harness.changes.slice(2), changes)
    t.strictSame(harness.watches().map(versionAsked), watchedFrom)
    t.match(
      await registry.getSingleMetricAsString('lifeguard_watch_missed_total'),
      `lifeguard_watch_missed_total{resource="jobs"} ${found.missed}`,
    )
  })
}

t.test('12: what comes, changes or goes while the list is read is no difference', async t => {
  await using harness = await startHarness({
    lists: [
      first,
      async exchange => {
        harness
          .watches()[0]
          ?.response.write(
            watchLine('DELETED', job('b', '12')) +
              watchLine('MODIFIED', job('a', '13')) +
              watchLine('ADDED', job('c', '14')),
          )
        await harness.until('all three', () => harness.changes.length === 5)
        await list('11', job('a', '1'), job('b', '2'))(exchange)
      },
    ],
    watches: [hanging()],
  })
  harness.reflector.start()
  await harness.until('the watch', () => harness.reflector.status().state === 'watching')
  t.strictSame(await harness.reflector.compare(forAWhile), { compared: 2, late: 0, missed: 0 })
  t.strictSame(harness.clock.waits, [])
})

t.test('12: only metadata is asked for', async t => {
  await using harness = await startHarness({ lists: [first], watches: [hanging()] })
  harness.reflector.start()
  await harness.until('the watch', () => harness.reflector.status().state === 'watching')
  await harness.reflector.compare(forAWhile)
  t.match(harness.lists()[1]?.headers, {
    accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
  })
})

t.test('12: while the watch is down there is nothing to learn', async t => {
  await using harness = await startHarness({ lists: [json(statusBody(403, 'Forbidden'), 403)], watches: [] })
  t.strictSame(await harness.reflector.compare(forAWhile), { compared: 0, late: 0, missed: 0 })
  t.equal(harness.peer.requests.length, 0)
})

t.test('12: it happens by itself, and a failure is told and not the last', async t => {
  await using harness = await startHarness(
    { lists: [first, json(statusBody(400, 'BadRequest'), 400), first], watches: [hanging()] },
    { limits: { compareMs: [100, 300] } },
  )
  harness.clock.hold(200, async () => {
    await harness.until('the watch', () => harness.reflector.status().state === 'watching')
  })
  harness.reflector.start()
  await harness.until('two comparisons', () => harness.lists().length > 3)
  t.match(harness.reports, [/comparing \/apis\/batch\/v1\/jobs with a list failed.*400 BadRequest/])
})
