import { readFileSync } from 'node:fs'
import { DIAGNOSIS_CODES } from '../../src/core/diagnosis/codes.ts'
import { VARIABLES } from '../../src/config/variables.ts'
import type { Variable } from '../../src/config/variables.ts'
import { resultsSchema } from '../bench/result.ts'
import { inWords, reachInWords } from '../bench/table.ts'
import { DEATHS } from '../core/deaths.ts'

/** The README, which tells people what the code says: its tables are made, not written. */
export const README = new URL('../../README.md', import.meta.url)

/** What `npm run bench` found. */
const RESULTS = new URL('../../docs/benchmarks/results.json', import.meta.url)

/** What stands between `<!-- begin:NAME -->` and `<!-- end:NAME -->`, by name. */
const sections = (): Readonly<Record<string, string>> => ({
  deaths: deathsTable(),
  settings: settingsTable(),
  measured: measuredTable(),
  codes: DIAGNOSIS_CODES.map(code => `\`${code}\``).join(' '),
})

/**
 * Puts every section anew into a document.
 *
 * @throws where the document lacks the marks of a section.
 */
export function withSections(document: string): string {
  return Object.entries(sections()).reduce((text, [name, section]) => {
    const [begin, end] = [`<!-- begin:${name} -->`, `<!-- end:${name} -->`]
    const [before, rest] = splitAt(text, begin)
    const [, after] = splitAt(rest, end)
    return `${before}${begin}\n<!-- prettier-ignore-start -->\n\n${section}\n\n<!-- prettier-ignore-end -->\n${end}${after}`
  }, document)
}

function splitAt(text: string, mark: string): [before: string, after: string] {
  const at = text.indexOf(mark)
  if (at === -1) throw new Error(`the README has no ${mark}`)
  return [text.slice(0, at), text.slice(at + mark.length)]
}

function deathsTable(): string {
  const rows = DEATHS.map(({ dies, seen, becomes }) => [dies, `\`${seen}\``, becomes])
  return table(['what happens', 'diagnosis', 'the run becomes'], rows)
}

function settingsTable(): string {
  const variables: readonly (readonly [string, Variable])[] = Object.entries(VARIABLES)
  const rows = variables.map(([name, { preset, about }]) => [`\`${name}\``, presetOf(preset), about])
  return table(['variable', 'default', 'meaning'], rows)
}

/** Of all figures those that we mean to reach, whether they are reached or not. */
function measuredTable(): string {
  const results = Object.values(resultsSchema.parse(JSON.parse(readFileSync(RESULTS, 'utf8'))))
  const rows = results.flatMap(({ title, figures }) =>
    figures
      .filter(({ reach }) => reach !== undefined)
      .map(({ what, minimum, median, maximum, unit, ...figure }) => [
        title,
        what,
        `${inWords(median)} ${unit}`.trim(),
        `${inWords(minimum)} to ${inWords(maximum)}`,
        reachInWords({ median, ...figure }),
      ]),
  )
  return table(['', 'what', 'median', 'from, to', 'to reach'], rows)
}

/** A list of many parts may be broken between them; an empty text is no default to show. */
const presetOf = (preset = ''): string =>
  preset
    .split(',')
    .filter(part => part !== '')
    .map(part => `\`${part}\``)
    .join(', ')

const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows].map(cells => `| ${cells.join(' | ')} |`).join('\n')
