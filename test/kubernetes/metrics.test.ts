import { Registry } from 'prom-client'
import t from 'tap'

import { createKubernetesMetrics, noMetrics } from '../../src/kubernetes/metrics.ts'
import type { WatchFigures } from '../../src/kubernetes/watch/metrics.ts'
import { closing, hanging, json, startHarness } from './harness.ts'
import { bookmark, jobJson, listJson, watchLine } from './objects.ts'
import { statusBody } from './peer.ts'

const list = json(listJson([jobJson({ name: 'a' }), jobJson({ name: 'b' })], '10'))

const figures = (objects: number, secondsAgo: number): WatchFigures => ({
  objects,
  lastProgressAt: Date.now() - secondsAgo * 1000,
})

t.test('17: what a watch went through can be counted', async t => {
  const registry = new Registry()
  await using harness = await startHarness(
    {
      lists: [list],
      watches: [
        closing(bookmark('11')),
        json(statusBody(500, 'InternalError'), 500),
        json(statusBody(410, 'Expired'), 410),
        hanging(
          watchLine('MODIFIED', jobJson({ name: 'a', version: '12' })),
          watchLine('ADDED', { metadata: { resourceVersion: '13' } }),
          bookmark('14'),
        ),
      ],
    },
    {
      metrics: createKubernetesMetrics(registry),
      onChange: ({ type }) => {
        if (type === 'modified') throw new Error('handlers must not')
      },
    },
  )
  harness.reflector.start()
  await harness.until(
    'the last bookmark',
    () => harness.reports.length === 3 && harness.reflector.status().lastBookmarkAt !== undefined,
  )
  const text = await registry.metrics()
  for (const line of [
    'lifeguard_watch_objects{resource="jobs"} 2',
    'lifeguard_watch_reconnects_total{resource="jobs",reason="closed"} 1',
    'lifeguard_watch_reconnects_total{resource="jobs",reason="server_error"} 1',
    'lifeguard_watch_relists_total{resource="jobs",reason="start"} 1',
    'lifeguard_watch_relists_total{resource="jobs",reason="expired"} 1',
    'lifeguard_watch_failures_total{resource="jobs",reason="handler"} 1',
    'lifeguard_watch_failures_total{resource="jobs",reason="parse"} 1',
    'lifeguard_watch_missed_total{resource="jobs"} 0',
  ]) {
    t.ok(text.includes(`${line}\n`), line)
  }
  await harness.reflector.stop()
  t.notMatch(await registry.metrics(), /lifeguard_watch_objects\{/, 'a watch that has ended has no figures')
})

t.test('17: of several watches of a resource the worst age is shown, and objects add up', async t => {
  const registry = new Registry()
  const metrics = createKubernetesMetrics(registry)
  metrics.watch('jobs', () => figures(2, 100))
  metrics.watch('jobs', () => figures(3, 500))
  metrics.watch('pods', () => ({ objects: 0, lastEventAt: Date.now() - 5_000 }))
  const text = await registry.metrics()
  t.match(text, 'lifeguard_watch_objects{resource="jobs"} 5')
  t.match(text, /lifeguard_watch_last_progress_age_seconds\{resource="jobs"\} 50\d\.?/)
  t.match(text, /lifeguard_watch_last_event_age_seconds\{resource="pods"\} \d/)
  t.notMatch(text, /last_bookmark_age_seconds\{/, 'what has not happened has no age')
})

t.test('metrics can be done without', async t => {
  const watch = noMetrics.watch('jobs', () => ({ objects: 0 }))
  watch.reconnected('closed')
  watch.relisted('start')
  watch.missed(1)
  watch.failed('parse')
  watch.end()
  noMetrics.requested({ method: 'GET', code: '200', seconds: 1 })
  noMetrics.connections(() => 0)
  noMetrics.leader('x', true)
  t.pass('nothing is done')
})
