import type { Point } from './slope.ts'

export interface Series {
  readonly caption: string
  readonly points: readonly Point[]
  /** Where the slope begins to be measured. */
  readonly warmUpMs: number
}

const WIDTH = 720
const HEIGHT = 130
/** What the highest value leaves free above it. */
const HEADROOM = 1.1
const MARGIN = { left: 70, right: 20, top: 28, bottom: 26 }
const MINUTE_MS = 60_000

/** One picture below the other, each from zero: a slope that looks steep is steep. */
export function plot(series: readonly Series[], heading: string): string {
  const panels = series.map((one, index) => panel(one, index * HEIGHT + 30))
  const height = series.length * HEIGHT + 40
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    `<text x="${MARGIN.left}" y="20" font-size="13" font-weight="bold">${escape(heading)}</text>`,
    ...panels,
    '</svg>',
    '',
  ].join('\n')
}

function panel({ caption, points, warmUpMs }: Series, top: number): string {
  const lastAt = Math.max(1, ...points.map(([at]) => at))
  const most = Math.max(1, ...points.map(([, value]) => value)) * HEADROOM
  const left = MARGIN.left
  const width = WIDTH - MARGIN.left - MARGIN.right
  const height = HEIGHT - MARGIN.top - MARGIN.bottom
  const bottom = top + MARGIN.top + height
  const x = (at: number): string => (left + (at / lastAt) * width).toFixed(1)
  const y = (value: number): string => (bottom - (value / most) * height).toFixed(1)
  const line = points.map(([at, value]) => `${x(at)},${y(value)}`).join(' ')
  const warmUp = Math.min(width, (warmUpMs / lastAt) * width).toFixed(1)
  return [
    `<text x="${left}" y="${top + 20}">${escape(caption)}</text>`,
    `<rect x="${left}" y="${top + MARGIN.top}" width="${warmUp}" height="${height}" fill="#f0f0f0"/>`,
    `<path d="M${left} ${top + MARGIN.top}V${bottom}H${left + width}" fill="none" stroke="#888"/>`,
    `<text x="${left - 6}" y="${top + MARGIN.top + 8}" text-anchor="end">${most.toFixed(0)}</text>`,
    `<text x="${left - 6}" y="${bottom}" text-anchor="end">0</text>`,
    `<text x="${left + width}" y="${bottom + 14}" text-anchor="end">${(lastAt / MINUTE_MS).toFixed(0)} min</text>`,
    `<polyline points="${line}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>`,
  ].join('\n')
}

const escape = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
