import { hash } from 'node:crypto'
import { Registry } from 'prom-client'
import t from 'tap'
import { html } from '../../src/operations/html.ts'
import { createRecent } from '../../src/operations/recent.ts'
import { createOperationsServer } from '../../src/operations/server.ts'
import { statusPage } from '../../src/operations/status-page.ts'
import { sampleReport, verdict } from './sample-report.ts'

/** What the page says; how it looks is test/operations/browser.test.ts. */

const HOSTILE = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>&`

/** Tags and their attributes, without texts. */
const tagsIn = (page: string): readonly string[] => page.match(/<[a-z!/][^>]*>/g) ?? []

const textOf = (page: string): string =>
  page
    .replace(/<style>.*<\/style>/s, '')
    .replaceAll(/<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')

t.test('the page tells how each part is, why runs died, by which rules, and what is watched', async t => {
  const page = statusPage(sampleReport())
  const text = textOf(page)
  for (const words of [
    'This replica leads: prefect-lifeguard-6c9d8f7b5-x2x4m',
    'Dead runs become Crashed',
    'ok admission as it should be',
    'not ok watch of pods connection refused since 2026-03-04T11:58:12.000Z',
    'oom_killed crashed: wisteria-nuthatch 2 min ago',
    'Resolution: Raise `memory_limit`',
    'exited_without_reporting crashed: sepia-quail 18 h ago',
    'runIsDead: crash JobFailed',
    '198 runs, 214 Jobs, 201 pods; 3 shown',
    'flows/umber-lynx-2t7kp JobComplete Succeeded 3 h',
    'As of 2026-03-04 12:00:00 UTC',
  ])
    t.match(text, words)
  t.match(page, '<title>prefect-lifeguard: 1 not well</title>')
  t.match(page, /<svg[^>]+aria-label="Deaths by diagnosis: oom_killed 3, node_lost 1, /)
  t.match(
    text,
    'Deaths by diagnosis oom_killed 3 node_lost 1 job_deleted 1 exited_without_reporting 1 Verdicts',
    'the longest bar comes first, with its figure; what cannot start is no death',
  )
})

t.test('a replica without verdicts says why', async t => {
  t.match(textOf(statusPage(sampleReport({ verdicts: [] }))), 'Verdicts None so far.')
  const standby = textOf(statusPage(sampleReport({ verdicts: [], isLeader: false })))
  t.match(standby, 'This replica stands by')
  t.match(standby, 'told by the replica that leads')
  const quiet = sampleReport({ parts: [], watched: { runs: 0, jobs: 0, pods: 0, shown: [] } })
  t.match(statusPage(quiet), '<title>prefect-lifeguard: all is well</title>')
})

t.test('whatever stands in a name or a message is text', async t => {
  const { watched } = sampleReport()
  const [run] = watched.shown
  if (!run) throw new Error('the sample has runs')
  const hostile = sampleReport({
    identity: HOSTILE,
    mode: HOSTILE,
    parts: [{ name: HOSTILE, ok: false, detail: HOSTILE }],
    verdicts: [
      verdict(1, HOSTILE, {
        name: HOSTILE,
        outcome: HOSTILE,
        job: HOSTILE,
        flowRunId: HOSTILE,
        trail: [HOSTILE],
      }),
    ],
    watched: {
      ...watched,
      shown: [{ ...run, flowRunId: HOSTILE, job: HOSTILE, state: HOSTILE, pods: HOSTILE }],
    },
  })
  const tags = tagsIn(statusPage(hostile))
  t.notOk(tags.some(tag => /^<(script|img)/.test(tag)))
  t.notOk(
    tags.some(tag => /onerror|alert/.test(tag.replaceAll(/"[^"]*"/g, ''))),
    'nor in an attribute',
  )
  const plain = tagsIn(statusPage(sampleReport({ ...hostile, ...shapeOf() }))).length
  t.equal(tags.length, plain, 'it makes no tag more than plain words do')
})

/** A report as large as the hostile one, in plain words. */
function shapeOf() {
  const { watched } = sampleReport()
  return {
    identity: 'a',
    mode: 'a',
    parts: [{ name: 'a', ok: false, detail: 'a' }],
    verdicts: [verdict(1, 'a', { trail: ['a'] })],
    watched: { ...watched, shown: watched.shown.slice(0, 1) },
  }
}

t.test('a template escapes every value that is not HTML of its own', async t => {
  t.equal(
    html`<b title="${'"'}">${'<i>'}${html`<i>${'&'}</i>`}${[1, undefined, "'"]}</b>`.text,
    '<b title="&quot;">&lt;i&gt;<i>&amp;</i>1&#39;</b>',
  )
})

t.test('it is served with a policy that lets a browser do nothing but show it', async t => {
  const page = statusPage(sampleReport())
  const app = createOperationsServer({
    registry: new Registry(),
    liveness: () => [],
    readiness: () => [],
    information: () => [],
    page: async () => page,
  })
  const { statusCode, headers, body } = await app.inject({ url: '/' })
  await app.close()
  t.equal(statusCode, 200)
  t.equal(body, page)
  const style = /<style>(.*)<\/style>/s.exec(body)?.[1] ?? ''
  t.match(headers, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'content-security-policy': `default-src 'none'; style-src 'sha256-${hash('sha256', style, 'base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  })
  t.notMatch(body, / (?:src|href|style|on\w+)=/, 'nothing is fetched, linked or done')
})

t.test('of what was added the last are kept, and no more', async t => {
  const recent = createRecent<number>(3)
  for (const n of [1, 2, 3, 4, 5]) recent.add(n)
  t.strictSame(recent.list(), [5, 4, 3])
})
