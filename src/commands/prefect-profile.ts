import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import { z } from 'zod'
import { ArgumentError } from './explain.ts'

type Environment = Readonly<Record<string, string | undefined>>

const profilesSchema = z.object({
  active: z.string().optional(),
  profiles: z
    .record(z.string(), z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])))
    .default({}),
})

type Profiles = z.infer<typeof profilesSchema>

/**
 * The environment with the settings of the active Prefect profile below it: who can say `prefect flow-run ls` needs
 * no further setting. The profile is `PREFECT_PROFILE`, or the active one of `profiles.toml`; a variable that is set
 * wins over it, as in Prefect; an empty one is an unset one.
 *
 * @throws ArgumentError where the file is none, or the profile that is asked for is not in it.
 */
export async function withPrefectProfile(env: Environment): Promise<Environment> {
  const path = profilesPath(env)
  const text = await readFile(path, 'utf8').catch(emptyWhereMissing)
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''))
  return { ...settingsIn(profilesIn(text, path), path, env['PREFECT_PROFILE'] ?? ''), ...set }
}

function settingsIn({ active = '', profiles }: Profiles, path: string, wanted: string): Environment {
  const settings = profiles[wanted === '' ? active : wanted]
  if (settings) return textsOf(settings)
  if (wanted !== '') throw new ArgumentError(`PREFECT_PROFILE: ${path} has no such profile`)
  return {}
}

/** Source: `_get_profiles_path` in prefect/settings/sources.py of Prefect 3.8.8. */
const profilesPath = (env: Environment): string =>
  env['PREFECT_PROFILES_PATH'] || join(env['PREFECT_HOME'] || homeOf(env), 'profiles.toml')

const homeOf = (env: Environment): string => join(env['HOME'] ?? homedir(), '.prefect')

function emptyWhereMissing(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
  throw error
}

/** What the file says; never repeated in an error, for it holds keys. */
function profilesIn(text: string, path: string): Profiles {
  try {
    return profilesSchema.parse(parse(text))
  } catch {
    throw new ArgumentError(`${path} is no file of Prefect profiles: see \`prefect profile inspect\``)
  }
}

const textsOf = (settings: Readonly<Record<string, string | number | boolean>>): Environment =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]))
