import { readFile } from 'node:fs/promises'

const REQUIREMENTS = new URL('../../cluster/prefect/requirements.txt', import.meta.url)

/** What is pinned: Prefect and the integration whose observer is the peer. */
export async function prefectVersions(): Promise<Readonly<Record<string, string>>> {
  const pins = (await readFile(REQUIREMENTS, 'utf8')).matchAll(/^(prefect(?:-kubernetes)?)==(.+)$/gm)
  return Object.fromEntries([...pins].map(([, name = '', version = '']) => [name, version]))
}
