import t from 'tap'
import { plot } from './plot.ts'
import { floorOf, quantile, slopePerHour } from './slope.ts'

t.test('a line is found again, and noise around it does not bend it', t => {
  const minute = 60_000
  const line = Array.from({ length: 60 }, (_, n) => [n * minute, 100 + n / 2] as const)
  t.equal(Math.round(slopePerHour(line)), 30)
  const noisy = line.map(([at, value], n) => [at, value + (n % 2 === 0 ? 5 : -5)] as const)
  t.ok(Math.abs(slopePerHour(noisy) - 30) < 1)
  t.equal(slopePerHour([[0, 7]]), 0, 'one point has no slope')
  t.end()
})

t.test('of a saw, the floor is left', t => {
  const saw = [5, 9, 6, 8, 4, 7].map((value, n) => [n * 10, value] as const)
  t.same(floorOf(saw, 30), [
    [0, 5],
    [40, 4],
  ])
  t.end()
})

t.test('a quantile is a value that was there', t => {
  t.equal(quantile([4, 1, 3, 2], 0.5), 2)
  t.equal(quantile([4, 1, 3, 2], 0.99), 4)
  t.ok(Number.isNaN(quantile([], 0.5)))
  t.end()
})

t.test('a picture holds every point and says the slope', t => {
  const points = [0, 1, 2].map(n => [n * 60_000, n] as const)
  const svg = plot([{ title: 'a < b', unit: 'MiB', points, slope: 1.25, warmUpMs: 0 }], 'heading')
  t.match(svg, /a &lt; b: \+1.3 MiB an hour/)
  t.equal(/<polyline points="([^"]*)"/.exec(svg)?.[1]?.split(' ').length, 3)
  t.end()
})
