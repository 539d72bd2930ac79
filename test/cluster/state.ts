import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { cacheFolder } from './build.ts'
import { isAlive } from './kill.ts'

/** The environment that runs in the background, one per user. */
export type State = z.infer<typeof stateSchema>

const stateSchema = z.object({
  /** Of the process that holds it. */
  pid: z.number().int().positive(),
  places: z.object({
    kubeconfig: z.string(),
    server: z.string().optional(),
    prefectApiUrl: z.string().optional(),
    folders: z.array(z.string()).readonly(),
  }),
})

const stateFile = (): string => join(cacheFolder(process.env), 'cluster.json')

/** Where the background process writes what it does. */
export const logFile = (): string => join(cacheFolder(process.env), 'cluster.log')

export async function writeState(state: State): Promise<void> {
  await mkdir(dirname(stateFile()), { recursive: true })
  await writeFile(stateFile(), JSON.stringify(state, undefined, 2))
}

export const removeState = (): Promise<void> => rm(stateFile(), { force: true })

/**
 * Undefined where none runs. A file left behind by one that was killed does not count: its folders are gone with it,
 * even where another process has its id by now.
 */
export async function readState(): Promise<State | undefined> {
  const text = await readFile(stateFile(), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const state = stateSchema.parse(JSON.parse(text))
  const isThere = (await isAlive(state.pid)) && state.places.folders.every(existsSync)
  return isThere ? state : undefined
}
