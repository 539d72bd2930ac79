import { z } from 'zod'
import { GROUP_NAMES } from './group.ts'
import type { Chart, Group, Measurements } from './group.ts'
import type { Circumstances } from './machine.ts'
import { spreadOf } from './statistics.ts'
import type { Spread } from './statistics.ts'

const figureSchema = z.object({
  name: z.string(),
  what: z.string(),
  unit: z.string(),
  minimum: z.number(),
  median: z.number(),
  maximum: z.number(),
  rounds: z.number(),
  reach: z.union([z.object({ atLeast: z.number() }), z.object({ atMost: z.number() })]).optional(),
})

const resultSchema = z.object({
  title: z.string(),
  date: z.string(),
  machine: z.string(),
  loadBefore: z.number(),
  /** Sizes that were asked for, as on the command line. */
  options: z.string().default(''),
  versions: z.record(z.string(), z.string()),
  figures: z.array(figureSchema),
  charts: z.array(z.object({ file: z.string(), title: z.string() })),
  method: z.string(),
  limit: z.string(),
})

export const resultsSchema = z.partialRecord(z.enum(GROUP_NAMES), resultSchema)

/** A figure as it is kept: its spread. */
export type FigureResult = z.infer<typeof figureSchema>

/** What one run of a group found. */
export type Result = z.infer<typeof resultSchema>

/** The last run of each group; they need not be from the same day. */
export type Results = z.infer<typeof resultsSchema>

/** Boils measurements down to what is kept. */
export const resultOf = (
  { name, title }: Pick<Group, 'name' | 'title'>,
  { figures, charts, versions, method, limit }: Measurements,
  { options, ...found }: Circumstances & { readonly options: string },
): Result => ({
  title,
  ...found,
  options,
  versions: { ...found.versions, ...versions },
  figures: figures.map(({ samples, ...figure }) => ({
    ...figure,
    ...rounded(spreadOf(samples)),
    rounds: samples.length,
  })),
  charts: charts.map(chart => ({ file: fileOf(name, chart), title: chart.title })),
  method,
  limit,
})

/** The picture of a chart. */
export const fileOf = (group: string, { name }: Chart): string => `${group}-${name}.svg`

/** Four digits: more than repeats. */
const rounded = (spread: Spread) =>
  Object.fromEntries(
    Object.entries(spread).map(([name, value]) => [name, Number(value.toPrecision(4))]),
  ) as unknown as Spread

/**
 * One object for programs: `webhook.ratioToBare` is the median, `webhook.figures.ratioToBare` has its spread, unit and
 * words.
 */
export function toJson(results: Results): object {
  return Object.fromEntries(
    Object.entries(results).map(([name, { figures, ...result }]) => [
      name,
      {
        ...Object.fromEntries(figures.map(({ name, median }) => [name, median])),
        ...result,
        figures: Object.fromEntries(figures.map(({ name, ...figure }) => [name, figure])),
      },
    ]),
  )
}
