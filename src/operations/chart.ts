import { html } from './html.ts'
import type { Html } from './html.ts'

export interface Bar {
  readonly label: string
  readonly count: number
}

/** In units of the drawing, which is scaled to the width of the page: about as wide as a phone, so that its letters stay letters. */
const WIDTH = 420
const ROW = 24
const LABEL = 194
const COUNT = 36
const THICKNESS = 14

/** Horizontal bars, longest first, each with its label and figure: readable without colours. */
export function barChart(title: string, bars: readonly Bar[]): Html {
  const most = Math.max(1, ...bars.map(({ count }) => count))
  const words = bars.map(({ label, count }) => `${label} ${count}`).join(', ')
  const rows = bars.toSorted((a, b) => b.count - a.count).map((bar, n) => rowOf(bar, n, most))
  return html`<svg
    class="chart"
    role="img"
    aria-label="${title}: ${words}"
    viewBox="0 0 ${WIDTH} ${bars.length * ROW}"
  >
    ${rows}
  </svg>`
}

function rowOf({ label, count }: Bar, n: number, most: number): Html {
  const length = Math.max(2, Math.round(((WIDTH - LABEL - COUNT) * count) / most))
  const middle = n * ROW + ROW / 2
  return html`<text class="label" x="${LABEL - 8}" y="${middle}">${label}</text>
    <rect x="${LABEL}" y="${middle - THICKNESS / 2}" width="${length}" height="${THICKNESS}" rx="3" />
    <text class="count" x="${LABEL + length + 8}" y="${middle}">${count}</text>`
}
