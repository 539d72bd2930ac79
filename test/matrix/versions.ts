import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** One row of the matrix: which Prefect the server is, and which the worker, the flows and their pods are. */
export interface Combination {
  readonly server: Release
  readonly client: Release
}

/** A Prefect that is tried, by its minor version. */
export type Release = '3.0' | '3.4' | '3.8' | '3.9'

/** A file with `==` versions of Prefect and all it needs, as they were current when that Prefect was. */
const REQUIREMENTS: Readonly<Record<Release, string>> = {
  '3.0': join(import.meta.dirname, 'requirements/3.0.txt'),
  '3.4': join(import.meta.dirname, 'requirements/3.4.txt'),
  '3.8': join(import.meta.dirname, '../cluster/prefect/requirements.txt'),
  '3.9': join(import.meta.dirname, 'requirements/3.9.txt'),
}

/**
 * The oldest Prefect 3, one in the middle, the one that all tests pin, the newest; and an old worker with a new server,
 * as while somebody upgrades. Not the other way round: Prefect itself has its servers upgraded first, and a flow of
 * 3.8.8 cannot even begin on a server of 3.0.11 (422 for the `labels` that it sends).
 */
export const COMBINATIONS: readonly Combination[] = [
  { server: '3.0', client: '3.0' },
  { server: '3.4', client: '3.4' },
  { server: '3.8', client: '3.8' },
  { server: '3.9', client: '3.9' },
  { server: '3.9', client: '3.0' },
]

/** What `--only` takes: `3.4`, or `3.9/3.0` for server and worker of two versions. */
export const nameOf = ({ server, client }: Combination): string =>
  server === client ? server : `${server}/${client}`

/** Those that are asked for, all where nothing is. @throws where one is asked for that there is not. */
export function chosen(names: readonly string[]): readonly Combination[] {
  const known = COMBINATIONS.map(nameOf)
  const unknown = names.filter(name => !known.includes(name))
  if (unknown.length > 0)
    throw new Error(`no such combination: ${unknown.join(', ')}; there are ${known.join(', ')}`)
  return COMBINATIONS.filter(one => names.length === 0 || names.includes(nameOf(one)))
}

export interface Versions {
  readonly prefect: string
  readonly prefectKubernetes: string
}

export const requirementsOf = (release: Release): string => REQUIREMENTS[release]

/** What a release stands for, as its requirements say. */
export async function versionsOf(release: Release): Promise<Versions> {
  const text = await readFile(REQUIREMENTS[release], 'utf8')
  return { prefect: pinned(text, 'prefect'), prefectKubernetes: pinned(text, 'prefect-kubernetes') }
}

function pinned(requirements: string, name: string): string {
  const line = requirements.split('\n').find(one => one.startsWith(`${name}==`))
  if (line === undefined) throw new Error(`the requirements pin no ${name}`)
  return line.slice(name.length + '=='.length).trim()
}
