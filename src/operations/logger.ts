import type { Logger } from 'pino'
import { destination, pino, stdTimeFunctions } from 'pino'
import pretty from 'pino-pretty'

export interface LogOptions {
  readonly level: string
  /** `json` for machines, `pretty` for people. */
  readonly format: 'json' | 'pretty'
  /** Where standard output is the answer to a question, the log goes to standard error. */
  readonly to?: 'stdout' | 'stderr'
}

const FILE_DESCRIPTORS = { stdout: 1, stderr: 2 } as const

/** What may hold a secret; here or in an object, such as an error, one level down. */
const SECRETS = ['headers', 'authorization', 'apiKey', 'authString', 'customHeaders', 'password', 'token']

const SECRET_PATHS = SECRETS.flatMap(name => [name, `*.${name}`])

/** The process's logger: one JSON object a line on standard output, or lines for people. */
export function createLogger({ level, format, to = 'stdout' }: LogOptions): Logger {
  const fd = FILE_DESCRIPTORS[to]
  const options = {
    level,
    base: {},
    timestamp: stdTimeFunctions.isoTime,
    redact: { paths: SECRET_PATHS, censor: '(redacted)' },
  }
  // Written beside the work, together where lines come fast: a reader that does not read holds up nobody, and a burst of
  // reviews costs a write for many. What is left is written at the exit; only SIGKILL takes the last lines along.
  if (format === 'json') return pino(options, destination({ dest: fd, sync: false }))
  return pino(
    options,
    pretty({ translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname', sync: true, destination: fd }),
  )
}
