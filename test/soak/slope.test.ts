import t from 'tap'
import { plot } from './plot.ts'
import { bytesPerRun } from './remembered.ts'
import { findingOf, floorOf, meansOf, quantile, trendOf } from './slope.ts'
import type { Point } from './slope.ts'

const MINUTE_MS = 60_000

/** An hour of values, one a minute. */
const hourOf = (valueAt: (minute: number) => number): readonly Point[] =>
  Array.from({ length: 60 }, (_, minute) => [minute * MINUTE_MS, valueAt(minute)] as const)

t.test('a line is found again, and noise around it is its error', t => {
  const line = trendOf(hourOf(minute => 100 + minute / 2))
  t.equal(Math.round(line.perHour), 30)
  t.equal(Math.round(line.error), 0)
  const noisy = trendOf(hourOf(minute => 100 + minute / 2 + (minute % 2 === 0 ? 5 : -5)))
  t.ok(Math.abs(noisy.perHour - 30) < noisy.error, 'the line is within the error')
  t.equal(trendOf([[0, 7]]).error, Infinity, 'one point says nothing')
  t.end()
})

t.test('what grows is told from what may, and from what cannot be told', t => {
  t.equal(findingOf({ perHour: 50, error: 5 }, 30), 'grows')
  t.equal(findingOf({ perHour: 35, error: 5 }, 30), 'flat', 'that may be chance')
  t.equal(findingOf({ perHour: 0, error: 5 }, 30), 'flat')
  t.equal(findingOf({ perHour: -20, error: 5 }, 30), 'flat', 'what shrinks does not grow')
  t.equal(findingOf({ perHour: 35, error: 25 }, 30), 'unclear')
  t.equal(findingOf(trendOf([[0, 7]]), 30), 'unclear')
  t.end()
})

t.test('of a product that leaves something behind, it is said', t => {
  const leaks = hourOf(minute => 20 + 2 * minute + (minute % 3))
  t.equal(findingOf(trendOf(meansOf(leaks, 2 * MINUTE_MS)), 72), 'grows')
  const keeps = hourOf(minute => 20 + (minute % 3))
  t.equal(findingOf(trendOf(meansOf(keeps, 2 * MINUTE_MS)), 72), 'flat')
  t.end()
})

t.test('a run that has gone takes a few KiB', t => {
  const bytes = bytesPerRun(1)
  t.ok(bytes > 1_024 && bytes < 8 * 1_024, `${bytes}`)
  t.end()
})

t.test('of a saw, the floor is left, or its mean', t => {
  const saw = [5, 9, 6, 8, 4, 7].map((value, n) => [n * 10, value] as const)
  t.same(floorOf(saw, 30), [
    [0, 5],
    [40, 4],
  ])
  t.same(meansOf(saw, 30), [
    [10, 20 / 3],
    [40, 19 / 3],
  ])
  t.end()
})

t.test('a quantile is a value that was there', t => {
  t.equal(quantile([4, 1, 3, 2], 0.5), 2)
  t.equal(quantile([4, 1, 3, 2], 0.99), 4)
  t.ok(Number.isNaN(quantile([], 0.5)))
  t.end()
})

t.test('a picture holds every point and its caption', t => {
  const points = [0, 1, 2].map(n => [n * 60_000, n] as const)
  const svg = plot([{ caption: 'a < b', points, warmUpMs: 0 }], 'heading')
  t.match(svg, /a &lt; b/)
  t.equal(/<polyline points="([^"]*)"/.exec(svg)?.[1]?.split(' ').length, 3)
  t.end()
})
