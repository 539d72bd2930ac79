/** One measurement: milliseconds since the start, and the value. */
export type Point = readonly [atMs: number, value: number]

const HOUR_MS = 3_600_000

/** By how much a series grows an hour: the slope of the straight line that is nearest by least squares. */
export function slopePerHour(points: readonly Point[]): number {
  const meanAt = mean(points.map(([at]) => at))
  const meanValue = mean(points.map(([, value]) => value))
  let products = 0
  let squares = 0
  for (const [at, value] of points) {
    products += (at - meanAt) * (value - meanValue)
    squares += (at - meanAt) ** 2
  }
  return squares === 0 ? 0 : (products / squares) * HOUR_MS
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

/** The value that a share of the values does not exceed; NaN where there are none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

/** The lowest value in each span: of a heap, what is left after its garbage was collected. */
export function floorOf(points: readonly Point[], spanMs: number): readonly Point[] {
  const spans = Map.groupBy(points, ([at]) => Math.floor(at / spanMs))
  return [...spans.values()].map(span =>
    span.reduce((lowest, point) => (point[1] < lowest[1] ? point : lowest)),
  )
}
