import { nameOf } from './versions.ts'
import type { Combination, Versions } from './versions.ts'
import type { Result } from './main-job.ts'

/** The versions behind a combination. */
export interface Tried {
  readonly server: Versions
  readonly client: Versions
}

/** What was tried, and what came of it. */
export interface Row extends Tried {
  readonly combination: Combination
  readonly result: Result
  /** The day, as `2026-01-31`. */
  readonly day: string
}

/** Between these lines of docs/compatibility.md stands what the matrix has found. */
export const MARKS = { begin: '<!-- begin:matrix -->', end: '<!-- end:matrix -->' } as const

const HEAD = [
  'server',
  'worker, flows',
  'prefect-kubernetes',
  'Job labelled',
  'killed run',
  'its parent',
  'diagnosis',
  'ended by',
  '`retries=1`, killed while no worker looks',
  'tried on',
]

const lineOf = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`

/** How the line of these versions begins. */
export const keyOf = ({ server, client }: Tried): string =>
  `| ${server.prefect} | ${client.prefect} | ${client.prefectKubernetes} |`

const lineOfRow = ({ server, client, result, day }: Row): string =>
  lineOf([
    server.prefect,
    client.prefect,
    client.prefectKubernetes,
    result.isLabelled ? 'yes' : 'no',
    result.child,
    result.parent,
    `\`${result.diagnosis}\``,
    result.endedBy,
    result.retried,
    day,
  ])

/** A table in Markdown. */
const tableOf = (lines: readonly string[]): string =>
  [lineOf(HEAD), lineOf(HEAD.map(() => '---')), ...lines].join('\n')

/** The table of these rows alone. */
export const tableOfRows = (rows: readonly Row[]): string => tableOf(rows.map(lineOfRow))

/**
 * The document with these rows in place of older ones of the same versions. Of the others those stay that are still
 * `wanted`, in whose order all stand.
 *
 * @throws where the document has no place for a table.
 */
export function withRows(document: string, rows: readonly Row[], wanted: readonly Tried[]): string {
  const begin = document.indexOf(MARKS.begin) + MARKS.begin.length
  const end = document.indexOf(MARKS.end)
  if (begin < MARKS.begin.length || end < begin)
    throw new Error(`there is no ${MARKS.begin} ... ${MARKS.end}`)
  const before = document.slice(begin, end).split('\n')
  const lines = wanted.flatMap(tried => {
    const row = rows.find(one => keyOf(one) === keyOf(tried))
    return row ? lineOfRow(row) : before.filter(line => line.startsWith(keyOf(tried)))
  })
  const table = ['<!-- prettier-ignore-start -->', '', tableOf(lines), '', '<!-- prettier-ignore-end -->']
  return `${document.slice(0, begin)}\n${table.join('\n')}\n${document.slice(end)}`
}

/** What a combination must come to, whatever its versions: one line for each thing that is not so. */
export function complaintsAbout({ combination, result }: Row): readonly string[] {
  const name = nameOf(combination)
  const must: readonly (readonly [boolean, string])[] = [
    [result.isLabelled, 'the Job has no label'],
    [result.child === 'Crashed', `the killed run is ${result.child}`],
    [result.parent === 'Completed', `its parent is ${result.parent}`],
    [result.diagnosis === 'oom_killed', `the diagnosis is ${result.diagnosis}`],
    [result.retried === 'Completed in attempt 2', `the run with a retry is ${result.retried}`],
    [result.complaints.length === 0, `our log says: ${result.complaints.join('; ')}`],
  ]
  return must.filter(([isSo]) => !isSo).map(([, what]) => `${name}: ${what}`)
}
