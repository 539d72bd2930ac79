import { once as eventOf } from 'node:events'
import { createInterface } from 'node:readline/promises'
import { ConfigError, readConfig } from '../config.ts'
import { KubernetesError } from '../kubernetes/http/errors.ts'
import { PrefectError, PrefectUnavailable } from '../prefect/errors.ts'
import { ArgumentError } from './explain.ts'
import type { Foundation } from './foundation.ts'
import { createFoundation } from './foundation.ts'
import { withPrefectProfile } from './prefect-profile.ts'

/** How a command that answers and ends tells a program what came of it. */
export const EXIT_CODES = {
  /** Nothing is wrong, or it was put right. */
  well: 0,
  /** Something was found that wants doing. */
  found: 1,
  /** An argument or a setting cannot be as it is. */
  usage: 2,
  /** It could not be found out: an API does not answer, or refuses. */
  unknown: 3,
  /** Called off by Ctrl-C or SIGTERM, as a shell has it. */
  stopped: 130,
} as const

/** Somebody called it off. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
}

/** For the help of every such command. */
export const EXIT_CODES_HELP = `
Exit codes: 0 all is well, 1 something was found, 2 an argument or a setting is wrong, 3 an API could not be asked
(standard error says which, and why).`

/** Nobody watches the log of a command that answers and ends: what it has to say, it prints. */
const QUIET = { LIFEGUARD_LOG_LEVEL: 'error', LIFEGUARD_LOG_FORMAT: 'pretty' } as const

/** Connects with the environment's kubeconfig and Prefect profile, does the work, and lets go of everything. */
export async function once<T>(
  env: Readonly<Record<string, string | undefined>>,
  work: (foundation: Foundation) => Promise<T>,
): Promise<T> {
  const config = readConfig({ ...QUIET, ...(await withPrefectProfile(env)) })
  const foundation = createFoundation(config, { to: 'stderr' })
  try {
    return await work(foundation)
  } finally {
    await foundation.close()
  }
}

/** The exit code for an error that is not a mistake of ours, whose message says all there is to know. */
export function exitCodeOf(error: unknown): number | undefined {
  if (error instanceof ConfigError || error instanceof ArgumentError) return EXIT_CODES.usage
  if (error instanceof Stopped) return EXIT_CODES.stopped
  const isOfApi =
    error instanceof KubernetesError || error instanceof PrefectError || error instanceof PrefectUnavailable
  return isOfApi ? EXIT_CODES.unknown : undefined
}

/** Asks a person at the terminal; anything but yes is no, the end of input and Ctrl-C too. */
export async function isAgreed(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const ended = eventOf(terminal, 'close').then(() => '')
  try {
    const answer = await Promise.race([terminal.question(`${question} [y/N] `).catch(() => ''), ended])
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}
