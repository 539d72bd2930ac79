import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { svgOf } from './chart.ts'
import { GROUP_NAMES } from './group.ts'
import type { Chart, Group } from './group.ts'
import { pageOf } from './page.ts'
import { fileOf, resultsSchema } from './result.ts'
import type { Result, Results } from './result.ts'

/** Kept in the repository, with the pictures and the page for people beside it. */
export const FOLDER = join(import.meta.dirname, '../../docs/benchmarks')

const FILE = 'results.json'

/** What was found so far; nothing where nobody has measured yet. */
export async function readResults(folder: string): Promise<Results> {
  const text = await readFile(join(folder, FILE), 'utf8').catch(() => '{}')
  return resultsSchema.parse(JSON.parse(text))
}

/** Writes a group's pictures, its result among those of the others, and the page made of all of them. */
export async function keep(
  folder: string,
  { name }: Pick<Group, 'name'>,
  { result, charts }: { readonly result: Result; readonly charts: readonly Chart[] },
): Promise<Results> {
  const results: Results = inOrder({ ...(await readResults(folder)), [name]: result })
  await mkdir(folder, { recursive: true })
  for (const chart of charts) await writeFile(join(folder, fileOf(name, chart)), svgOf(chart))
  await writeFile(join(folder, FILE), `${JSON.stringify(results, undefined, 2)}\n`)
  await writeFile(join(folder, 'README.md'), pageOf(results))
  return results
}

const inOrder = (results: Results): Results =>
  Object.fromEntries(GROUP_NAMES.flatMap(name => (results[name] ? [[name, results[name]]] : [])))
