import type { FigureResult } from './result.ts'

/** A group's figures as lines and columns, for a screen. */
export function textTable(figures: readonly FigureResult[]): string {
  const rows = [HEAD, ...figures.map(cellsOf)]
  const widths = HEAD.map((_, column) => Math.max(...rows.map(row => (row[column] ?? '').length)))
  return rows
    .map(row =>
      row
        .map((cell, column) => align(cell, widths[column] ?? 0, column))
        .join('  ')
        .trimEnd(),
    )
    .map(line => `  ${line}`)
    .join('\n')
}

/** The same as markdown. */
export function markdownTable(figures: readonly FigureResult[]): string {
  const rule = ['---', '--:', '--:', '--:', '---', '---']
  return [HEAD, rule, ...figures.map(cellsOf)].map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

const HEAD = ['', 'minimum', 'median', 'maximum', 'unit', 'to reach']

/** Numbers to the right. */
const align = (cell: string, width: number, column: number): string =>
  column >= 1 && column <= 3 ? cell.padStart(width) : cell.padEnd(width)

const cellsOf = ({ what, minimum, median, maximum, unit, ...figure }: FigureResult): string[] => [
  what,
  ...[minimum, median, maximum].map(inWords),
  unit,
  reachInWords({ median, ...figure }),
]

/** Three digits, and thousands apart: what people can compare at a glance. */
export const inWords = (value: number): string =>
  Number(value.toPrecision(3)).toLocaleString('en', { maximumSignificantDigits: 3 })

/** What the median should be, and whether it is. */
export function reachInWords({ median, reach }: Pick<FigureResult, 'median' | 'reach'>): string {
  if (reach === undefined) return ''
  const [sign, limit, isReached] =
    'atLeast' in reach
      ? ['≥', reach.atLeast, median >= reach.atLeast]
      : ['≤', reach.atMost, median <= reach.atMost]
  return `${sign} ${inWords(limit)}: ${isReached ? 'yes' : 'no'}`
}
