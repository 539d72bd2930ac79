import t from 'tap'
import { duration, tableOf } from '../../src/commands/table.ts'

t.test('columns are as wide as their widest cell, and nothing trails', async t => {
  t.equal(
    tableOf([
      ['RUN', 'STATE', 'WHY'],
      ['a', 'AwaitingRetry', ''],
      ['longer', '-', 'because'],
    ]),
    'RUN     STATE          WHY\na       AwaitingRetry\nlonger  -              because\n',
  )
  t.equal(tableOf([]), '')
})

t.test('an age is told in its two largest units', async t => {
  const cases: Readonly<Record<string, number>> = {
    '0s': 999,
    '40s': 40_000,
    '12m5s': 725_000,
    '1h': 3_600_000,
    '59m59s': 3_599_999,
    '3d4h': 3 * 86_400_000 + 4 * 3_600_000 + 59_000,
    '2d': 2 * 86_400_000 + 5000,
  }
  for (const [words, ms] of Object.entries(cases)) t.equal(duration(ms), words)
  t.equal(duration(-5), '0s', 'clocks that differ make no nonsense')
})
