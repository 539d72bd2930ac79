/** One measurement: milliseconds since the start, and the value. */
export type Point = readonly [atMs: number, value: number]

/** The straight line that is nearest to a series. */
export interface Trend {
  readonly perHour: number
  /** Standard error of `perHour`: two of it either way are right nineteen times of twenty. */
  readonly error: number
}

const HOUR_MS = 3_600_000

/**
 * By how much a series grows an hour, by least squares. The error holds for points that do not depend on each other:
 * of measurements that follow each other closely, take one for each span.
 */
export function trendOf(points: readonly Point[]): Trend {
  const meanAt = mean(points.map(([at]) => at))
  const meanValue = mean(points.map(([, value]) => value))
  const squares = sum(points.map(([at]) => (at - meanAt) ** 2))
  if (squares === 0) return { perHour: 0, error: Infinity }
  const slope = sum(points.map(([at, value]) => (at - meanAt) * (value - meanValue))) / squares
  const rests = points.map(([at, value]) => value - meanValue - slope * (at - meanAt))
  // A line through two points fits, whatever they are: only a third says how well.
  const variance = points.length > 2 ? sum(rests.map(rest => rest ** 2)) / (points.length - 2) : Infinity
  return { perHour: slope * HOUR_MS, error: Math.sqrt(variance / squares) * HOUR_MS }
}

export type Finding = 'flat' | 'grows' | 'unclear'

/** What a trend says where so much an hour is allowed; unclear where it was measured for too short a time to tell. */
export function findingOf({ perHour, error }: Trend, allowed: number): Finding {
  if (perHour - 2 * error > allowed) return 'grows'
  return perHour + 2 * error > 2 * allowed ? 'unclear' : 'flat'
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

export const mean = (values: readonly number[]): number => sum(values) / Math.max(1, values.length)

/** The value that a share of the values does not exceed; NaN where there are none. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

const spansOf = (points: readonly Point[], spanMs: number): readonly (readonly Point[])[] => [
  ...Map.groupBy(points, ([at]) => Math.floor(at / spanMs)).values(),
]

/** The lowest value in each span: of a heap, what is left after its garbage was collected. */
export const floorOf = (points: readonly Point[], spanMs: number): readonly Point[] =>
  spansOf(points, spanMs).map(span => span.reduce((lowest, point) => (point[1] < lowest[1] ? point : lowest)))

/** The mean of each span. */
export const meansOf = (points: readonly Point[], spanMs: number): readonly Point[] =>
  spansOf(points, spanMs).map(
    span => [mean(span.map(([at]) => at)), mean(span.map(([, value]) => value))] as const,
  )
