import { glob, readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import t from 'tap'
import { exportedSeries, OF_PROMETHEUS } from './metrics.ts'
import { alerts, dashboard, queries } from './monitoring.ts'
import { parseQuery } from './promql.ts'
import { only, renderWith } from './render.ts'

/**
 * Alerts and dashboard against the metrics that the program has. That it really exports them is seen in
 * test/integration/rbac.test.ts, and when the alerts fire in alerts.test.ts.
 */

// Where there is no kubectl, kustomize is built first.
t.setTimeout(600_000)

const ROOT = new URL('../../', import.meta.url)
const series = exportedSeries()

const has = (metric: string, label: string): boolean =>
  OF_PROMETHEUS.has(label) || series.get(metric)?.has(label) === true

/** What a query asks for that is not there, in words. */
function missingIn(expression: string): readonly string[] {
  const { selectors, grouping } = parseQuery(expression)
  return [
    ...selectors.filter(({ metric }) => !series.has(metric)).map(({ metric }) => metric),
    ...selectors.flatMap(({ metric, matchers }) =>
      matchers.filter(({ label }) => !has(metric, label)).map(({ label }) => `${metric}{${label}}`),
    ),
    ...grouping
      .filter(label => !selectors.some(({ metric }) => has(metric, label)))
      .map(label => `by ${label}`),
  ]
}

for (const { where, expr } of queries)
  t.test(`${where} asks for series that there are, by labels that they have`, async t => {
    t.not(parseQuery(expr).selectors.length, 0, 'for something')
    t.strictSame(missingIn(expr), [])
  })

t.test('a query that is none, a metric and a label that are not there would be noticed', async t => {
  t.throws(() => parseQuery('sum(rate(x[5m])'), /no PromQL at 15/)
  t.throws(() => parseQuery('{job="x"}'), /without a metric/)
  t.strictSame(parseQuery('sum by (a) (x{b=~"$job"} / on (c) y)'), {
    selectors: [
      { metric: 'x', matchers: [{ label: 'b', operator: '=~', value: '.+' }] },
      { metric: 'y', matchers: [] },
    ],
    grouping: ['a', 'c'],
  })
  t.strictSame(missingIn('sum by (verb) (lifeguard_deaths_total{le="1"}) / lifeguard_reaction_seconds'), [
    'lifeguard_reaction_seconds',
    'lifeguard_deaths_total{le}',
    'by verb',
  ])
})

/** Names that other programs export, too. */
const SHARED = /^(controller_runtime|workqueue|rest_client|process|nodejs)_/

t.test('the dashboard is of ours alone, whatever else is scraped', async t => {
  for (const { where, expr } of queries.slice(alerts.length))
    for (const { metric, matchers } of parseQuery(expr).selectors)
      t.match(new Set(matchers), new Set([{ label: 'job' }]), `${where}: ${metric}`)
  const shared = alerts.filter(({ expr }) =>
    parseQuery(expr).selectors.some(({ metric }) => SHARED.test(metric)),
  )
  t.not(shared.length, 0)
  for (const { alert, expr } of shared)
    t.match(expr, 'on (instance) leader_election_master_status{name="prefect-lifeguard"}', alert)
})

t.test('panels have numbers and places of their own', async t => {
  const { panels } = dashboard
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  for (const [index, { title, gridPos: a }] of panels.entries()) {
    t.ok(a.x + a.w <= 24, `${title} is not too wide`)
    const over = panels
      .slice(index + 1)
      .filter(({ gridPos: b }) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h)
    t.strictSame(
      over.map(panel => panel.title),
      [],
      `${title} lies on no other`,
    )
  }
})

for (const panel of dashboard.panels.filter(({ type }) => type === 'timeseries'))
  t.test(`the legend of ${panel.title} names labels that the query leaves`, async t => {
    const { targets = [] } = panel
    for (const { expr, legendFormat } of targets) {
      const { grouping } = parseQuery(expr)
      const left = expr.includes(' by (') ? grouping : [...OF_PROMETHEUS]
      const named = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = '']) => label)
      t.strictSame(
        named.filter(label => !left.includes(label)),
        [],
        legendFormat,
      )
    }
  })

t.test('the ConfigMap is what the sidecar looks for, and holds the dashboard as it is', async t => {
  const { metadata, ...map } = only(
    await renderWith(t.testdir(), 'dashboard'),
    'ConfigMap',
    'prefect-lifeguard-dashboard',
  )
  t.equal(metadata.labels?.['grafana_dashboard'], '1')
  const file = 'prefect-lifeguard.json'
  const text = await readFile(new URL(`manifests/components/dashboard/${file}`, ROOT), 'utf8')
  t.match(map, { data: { [file]: text } })
})

t.test('every alert has a runbook, and every runbook an alert', async t => {
  const pages: Record<string, string> = {}
  for await (const file of glob('docs/runbooks/*.md', { cwd: ROOT }))
    if (basename(file) !== 'README.md') pages[basename(file)] = await readFile(new URL(file, ROOT), 'utf8')
  const wanted = new Set<string>()
  for (const { alert, annotations } of alerts) {
    const page = /^docs\/runbooks\/([\w-]+\.md)$/.exec(annotations.runbook_url)?.[1] ?? ''
    wanted.add(page)
    t.match(pages[page], alert, `${page} speaks of ${alert}`)
  }
  t.strictSame(Object.keys(pages).toSorted(), [...wanted].toSorted())
  const told = dashboard.panels.map(({ description = '' }) => description)
  for (const [, name = ''] of told.join('\n').matchAll(/runbook ([\w-]+)/g))
    t.ok(`${name}.md` in pages, `the dashboard names ${name}`)
})

t.test('what a runbook looks for in the log or the metrics, the program says', async t => {
  let source = ''
  for await (const file of glob('src/**/*.ts', { cwd: ROOT }))
    source += await readFile(new URL(file, ROOT), 'utf8')
  const wanted: string[] = []
  for await (const file of glob('docs/runbooks/*.md', { cwd: ROOT }))
    for (const [, pattern = ''] of (await readFile(new URL(file, ROOT), 'utf8')).matchAll(
      /grep (?:-E )?'([^'(]+)'/g,
    ))
      wanted.push(...pattern.split('|'))
  t.not(wanted.length, 0)
  for (const words of wanted) t.ok(source.includes(words), words)
})
