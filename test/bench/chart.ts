import type { Axis, Bars, Chart, Lines } from './group.ts'
import { spreadOf } from './statistics.ts'
import { inWords } from './table.ts'

/** Told apart without red and green, on white and in print. */
const COLOURS = ['#1f6feb', '#8c959f', '#bc4c00', '#6639ba', '#1b7c83', '#bf3989']

const WIDTH = 760
const LABELS = 190
const BAR = 18
const GAP = 14
const TOP = 44

interface Scale {
  /** Pixels of a value. */
  readonly at: (value: number) => number
  readonly ticks: readonly number[]
}

/** The picture as SVG. */
export const svgOf = (chart: Chart): string => (chart.kind === 'bars' ? bars(chart) : lines(chart))

/** Horizontal, each from zero; the median's number stands beside its bar. */
function bars({ title, unit, groups }: Bars): string {
  const heights = groups.map(({ bars }) => bars.length * BAR + GAP + 16)
  const most = Math.max(...groups.flatMap(({ bars }) => bars.flatMap(({ samples }) => samples)), 0)
  const scale = linear([0, most || 1], [LABELS, WIDTH - 80])
  const labels = [...new Set(groups.flatMap(({ bars }) => bars.map(({ label }) => label)))]
  const tops = heights.map((_, index) => TOP + sum(heights.slice(0, index)))
  const drawn = groups.flatMap(({ label, bars }, index) => {
    const top = tops[index] ?? TOP
    const rows = bars.map((bar, row) =>
      barOf(bar, { y: top + 20 + row * BAR, scale, colour: colourOf(labels.indexOf(bar.label)) }),
    )
    return [text(label, { x: 16, y: top + 12, weight: 'bold' }), ...rows]
  })
  const height = TOP + sum(heights)
  return svg(height, [heading(`${title} (${unit})`), ...drawn])
}

function barOf(
  { label, samples }: Bars['groups'][number]['bars'][number],
  { y, scale, colour }: { readonly y: number; readonly scale: Scale; readonly colour: string },
): string {
  const { minimum, median, maximum } = spreadOf(samples)
  const [left, right, middle] = [scale.at(minimum), scale.at(maximum), y + BAR / 2 - 2]
  const length = Math.max(1, scale.at(median) - LABELS)
  return [
    text(label, { x: LABELS - 8, y: middle + 4, anchor: 'end' }),
    `<rect x="${LABELS}" y="${y}" width="${length.toFixed(1)}" height="${BAR - 4}" fill="${colour}"/>`,
    path(
      `M${left.toFixed(1)} ${middle}H${right.toFixed(1)}m0 -4v8M${left.toFixed(1)} ${middle - 4}v8`,
      '#24292f',
    ),
    text(inWords(median), { x: right + 6, y: middle + 4 }),
  ].join('\n')
}

const PLOT = { left: 80, right: WIDTH - 20, top: TOP + 4, bottom: 330 }

/** One line a series, its points marked, its name in the legend below. */
function lines({ title, x, y, series }: Lines): string {
  const points = series.flatMap(({ points }) => points)
  const across = scaleOf(
    x,
    points.map(([value]) => value),
    [PLOT.left, PLOT.right],
  )
  const up = scaleOf(
    y,
    points.map(([, value]) => value),
    [PLOT.bottom, PLOT.top],
  )
  const drawn = series.map(({ points }, index) => {
    const at = points.map(([x, y]) => `${across.at(x).toFixed(1)},${up.at(y).toFixed(1)}`)
    const marks = at.map(point => {
      const [cx, cy] = point.split(',')
      return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colourOf(index)}"/>`
    })
    return [
      `<polyline points="${at.join(' ')}" fill="none" stroke="${colourOf(index)}" stroke-width="2"/>`,
      ...marks,
    ].join('\n')
  })
  const legend = series.map(({ label }, index) => legendOf(label, index))
  return svg(PLOT.bottom + 50 + series.length * 16, [
    heading(title),
    axes(x, y, { across, up }),
    ...drawn,
    ...legend,
  ])
}

function legendOf(label: string, index: number): string {
  const y = PLOT.bottom + 54 + index * 16
  return [
    `<rect x="${PLOT.left}" y="${y - 9}" width="10" height="10" fill="${colourOf(index)}"/>`,
    text(label, { x: PLOT.left + 16, y }),
  ].join('\n')
}

function axes(x: Axis, y: Axis, { across, up }: { readonly across: Scale; readonly up: Scale }): string {
  return [
    ...up.ticks.flatMap(tick => [
      path(`M${PLOT.left} ${up.at(tick).toFixed(1)}H${PLOT.right}`, '#d0d7de'),
      text(inWords(tick), { x: PLOT.left - 6, y: up.at(tick) + 4, anchor: 'end' }),
    ]),
    ...across.ticks.map(tick =>
      text(inWords(tick), { x: across.at(tick), y: PLOT.bottom + 16, anchor: 'middle' }),
    ),
    path(`M${PLOT.left} ${PLOT.top}V${PLOT.bottom}H${PLOT.right}`, '#57606a'),
    text(x.label, { x: PLOT.right, y: PLOT.bottom + 32, anchor: 'end' }),
    text(y.label, { x: PLOT.left, y: PLOT.top - 6 }),
  ].join('\n')
}

type Range = readonly [from: number, to: number]

function scaleOf({ isLogarithmic = false }: Axis, values: readonly number[], pixels: Range): Scale {
  const most = Math.max(...values)
  return isLogarithmic ? logarithmic([Math.min(...values), most], pixels) : linear([0, most || 1], pixels)
}

function linear([from, to]: Range, [left, right]: Range): Scale {
  const step = roundStep((to - from) / 5)
  const count = Math.ceil((to - from) / step)
  const ticks = Array.from({ length: count + 1 }, (_, index) => from + index * step)
  const end = from + count * step
  return { at: value => left + ((value - from) / (end - from)) * (right - left), ticks }
}

function logarithmic([least, most]: Range, [left, right]: Range): Scale {
  const [first, last] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))]
  const decades = Math.max(1, last - first)
  const ticks = Array.from({ length: decades + 1 }, (_, index) => 10 ** (first + index))
  return { at: value => left + ((Math.log10(value) - first) / decades) * (right - left), ticks }
}

/** 1, 2 or 5 times a power of ten, not below a value. */
function roundStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 2, 5].find(factor => factor * power >= value) ?? 10)
}

const colourOf = (index: number): string => COLOURS[index % COLOURS.length] ?? '#000'

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

const heading = (title: string): string => text(title, { x: 16, y: 24, weight: 'bold', size: 14 })

interface TextOptions {
  readonly x: number
  readonly y: number
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly weight?: 'normal' | 'bold'
  readonly size?: number
}

const text = (
  content: string,
  { x, y, anchor = 'start', weight = 'normal', size = 12 }: TextOptions,
): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" font-weight="${weight}" font-size="${size}">${escape(content)}</text>`

const path = (d: string, stroke: string): string => `<path d="${d}" fill="none" stroke="${stroke}"/>`

const svg = (height: number, parts: readonly string[]): string =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" fill="#24292f">`,
    `<rect width="${WIDTH}" height="${height}" fill="white"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n')

const escape = (content: string): string =>
  content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
