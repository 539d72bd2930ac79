/** Two spaces between columns, as kubectl has them. */
const GAP = '  '

/** Rows in columns as wide as their widest cell; the first row is the head. The last column is not filled up. */
export function tableOf(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map(row => row.length))
  const widths = Array.from({ length: columns }, (_, n) => Math.max(...rows.map(row => row[n]?.length ?? 0)))
  return rows
    .map(
      row =>
        `${row
          .map((cell, n) => cell.padEnd(widths[n] ?? 0))
          .join(GAP)
          .trimEnd()}\n`,
    )
    .join('')
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const

/** How long, in its two largest units, as kubectl tells an age: `3d4h`, `12m5s`, `40s`. In: milliseconds. */
export function duration(ms: number): string {
  const start = UNITS.findIndex(([, size]) => ms >= size)
  if (start === -1) return '0s'
  let left = ms
  const parts = UNITS.slice(start, start + 2).map(([unit, size]) => {
    const count = Math.floor(left / size)
    left -= count * size
    return count === 0 ? '' : `${count}${unit}`
  })
  return parts.join('')
}
