import t from 'tap'

import { backoffMs, retryAfterMs } from '../../src/prefect/backoff.ts'

const range = { baseMs: 100, capMs: 1_000 }

t.test('the bound doubles up to the cap, and chance decides below it', async t => {
  t.same(
    [1, 2, 3, 4, 5, 50].map(attempt => backoffMs(attempt, range, () => 0.5)),
    [50, 100, 200, 400, 500, 500],
  )
  t.equal(
    backoffMs(3, range, () => 0),
    0,
  )
})

const now = Date.UTC(2026, 0, 1, 12, 0, 0)

const headers: Readonly<Record<string, readonly [string | undefined, number | undefined]>> = {
  'no header': [undefined, undefined],
  'an empty header': [' ', undefined],
  seconds: ['7', 7_000],
  'no seconds at all': ['0', 0],
  'fractions of a second': ['0.5', 500],
  'an HTTP-date': ['Thu, 01 Jan 2026 12:00:30 GMT', 30_000],
  'an HTTP-date in the past': ['Thu, 01 Jan 2026 11:00:00 GMT', 0],
  'less than nothing': ['-5', 0],
  'a day: five minutes are enough': ['86400', 300_000],
  'a date in the next year: five minutes are enough': ['Fri, 01 Jan 2027 12:00:00 GMT', 300_000],
  nonsense: ['soon', undefined],
}

for (const [sentence, [header, expected]] of Object.entries(headers)) {
  t.test(`Retry-After: ${sentence}`, async t => {
    t.equal(retryAfterMs(header, now), expected)
  })
}
