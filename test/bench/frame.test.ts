import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { svgOf } from './chart.ts'
import type { Measurements } from './group.ts'
import { circumstances } from './machine.ts'
import { resultOf, toJson } from './result.ts'
import { keep, readResults } from './results.ts'
import { inTurns, quantile, ratios, spreadOf } from './statistics.ts'
import { reachInWords, textTable } from './table.ts'

t.test('statistics', async t => {
  t.strictSame(spreadOf([3, 1, 2, 10]), { minimum: 1, median: 2.5, maximum: 10 }, 'spread')
  t.equal(quantile([0, 10], 0.99), 9.9, 'a quantile between two samples lies on the line')
  t.throws(() => spreadOf([]), /nothing was measured/, 'nothing is not 0')
  t.strictSame(ratios([2, 9], [4, 3]), [0.5, 3], 'ratios are taken round by round')
  t.throws(() => ratios([1], [1, 2]), /cannot be compared/, 'rounds that were not measured side by side')
})

t.test('contestants take turns, every other round backwards', async t => {
  const calls: string[] = []
  const contestant = (name: string) => async (round: number) => calls.push(`${name}${round}`)
  const values = await inTurns(2, { ours: contestant('ours'), theirs: contestant('theirs') })
  t.strictSame(calls, ['ours0', 'theirs0', 'theirs1', 'ours1'])
  t.strictSame(values, { ours: [1, 4], theirs: [2, 3] }, 'values stay with their round')
})

t.test('what is to be reached is asked of the median', async t => {
  t.equal(reachInWords({ median: 0.8, reach: { atLeast: 0.8 } }), '≥ 0.8: yes')
  t.equal(reachInWords({ median: 0.79, reach: { atLeast: 0.8 } }), '≥ 0.8: no')
  t.equal(reachInWords({ median: 31, reach: { atMost: 30 } }), '≤ 30: no')
  t.equal(reachInWords({ median: 31 }), '')
})

const MEASURED: Measurements = {
  figures: [{ name: 'ratioToBare', what: 'ours / bare', unit: '×', samples: [0.7, 0.81234, 0.9] }],
  charts: [
    {
      kind: 'bars',
      name: 'rates',
      title: 'Rates <1>',
      unit: '1/s',
      groups: [{ label: 'small', bars: [{ label: 'ours', samples: [1, 2, 3] }] }],
    },
    {
      kind: 'lines',
      name: 'growth',
      title: 'Growth',
      x: { label: 'Jobs', isLogarithmic: true },
      y: { label: 's' },
      series: [
        {
          label: 'ours',
          points: [
            [1_000, 1],
            [35_000, 20],
          ],
        },
      ],
    },
  ],
  versions: { Pepr: '1.1.4' },
  method: 'In turns.',
  limit: 'TLS.',
}

t.test('a group is kept beside the others', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'bench-'))
  t.teardown(() => rm(folder, { recursive: true }))
  t.strictSame(await readResults(folder), {}, 'nothing at first')
  for (const name of ['apiserver', 'webhook'] as const) {
    const group = { name, title: `The ${name}` }
    const result = resultOf(group, MEASURED, {
      ...(await circumstances()),
      options: name === 'webhook' ? '--churn 9' : '',
    })
    await keep(folder, group, { result, charts: MEASURED.charts })
  }
  const results = await readResults(folder)
  t.strictSame(Object.keys(results), ['webhook', 'apiserver'], 'in the order of the groups')
  t.match(toJson(results), {
    webhook: {
      ratioToBare: 0.8123,
      figures: { ratioToBare: { minimum: 0.7, median: 0.8123, maximum: 0.9, rounds: 3 } },
      versions: { Pepr: '1.1.4', Node: process.versions.node },
    },
  })
  const page = await readFile(join(folder, 'README.md'), 'utf8')
  t.match(page, '`npm run bench -- --only webhook --churn 9`, ', 'as it was run')
  t.match(page, '`npm run bench -- --only apiserver`, ')
  t.match(page, '| ours / bare | 0.7 | 0.812 | 0.9 | × |  |')
  for (const [, file = ''] of page.matchAll(/!\[.*\]\((.*)\)/g))
    t.match(await readFile(join(folder, file), 'utf8'), /^<svg/, `${file} is there`)
  t.match(textTable(results.webhook?.figures ?? []), /ours \/ bare {6}0.7 {3}0.812 {6}0.9 {2}×/)
})

t.test('pictures', async t => {
  for (const chart of MEASURED.charts) {
    const svg = svgOf(chart)
    t.notMatch(svg, 'NaN', `${chart.name} has a place for everything`)
    t.notMatch(svg, '<1>', `${chart.name} escapes what it is called`)
  }
})
