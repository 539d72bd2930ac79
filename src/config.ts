import { hostname } from 'node:os'
import type { z } from 'zod'
import { GRACES, HANDLE_FAILURE, LABEL_FILTERS, NAMESPACES, VARIABLES } from './config/variables.ts'
import type { Variable } from './config/variables.ts'
import type { Graces, VerdictSettings } from './core/settings.ts'
import { DEFAULT_SETTINGS } from './core/settings.ts'

type Name = keyof typeof VARIABLES
type Value<N extends Name> = z.output<(typeof VARIABLES)[N]['read']>
type Values = {
  readonly [N in Name]: (typeof VARIABLES)[N] extends { preset: string } ? Value<N> : Value<N> | undefined
} & Readonly<Record<typeof REQUIRED, string>>

const REQUIRED = 'PREFECT_API_URL'

/** What the process runs with; durations in milliseconds. */
export interface Config {
  readonly prefect: PrefectConfig
  readonly verdict: VerdictSettings
  /** Namespaces to watch; empty: all. */
  readonly namespaces: readonly string[]
  readonly labelFilters: Readonly<Record<string, string>>
  readonly orphanScanInterval: number
  readonly admission: {
    readonly validation: 'warn' | 'enforce' | 'off'
    readonly lookupDeadline: number
    readonly maxConcurrent: number
    readonly port: number
    readonly drain: number
    readonly certificateDir: string | undefined
    readonly clientCaFile: string | undefined
  }
  readonly operationsPort: number
  readonly host: string
  readonly namespace: string
  readonly service: string
  readonly identity: string
  readonly log: { readonly level: string; readonly format: 'json' | 'pretty' }
}

export interface PrefectConfig {
  readonly apiUrl: string
  readonly apiKey?: string
  readonly authString?: string
  readonly customHeaders?: Readonly<Record<string, string>>
  readonly caFile?: string
  readonly insecureSkipVerify: boolean
  readonly requestsPerMinute: number
}

/** The environment is not as it has to be; one line for each variable. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

/**
 * Reads the environment, once. An empty variable counts as unset.
 *
 * @throws ConfigError naming every variable that is wrong or missing; never with its value, which may be a secret.
 */
export function readConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const values = readValues(env)
  return {
    prefect: prefectOf(values),
    verdict: verdictOf(values),
    namespaces: values[NAMESPACES],
    labelFilters: values[LABEL_FILTERS],
    orphanScanInterval: values.LIFEGUARD_ORPHAN_SCAN_INTERVAL,
    admission: {
      validation: values.LIFEGUARD_VALIDATION,
      lookupDeadline: values.LIFEGUARD_LOOKUP_DEADLINE,
      maxConcurrent: values.LIFEGUARD_MAX_CONCURRENT_REVIEWS,
      port: values.LIFEGUARD_ADMISSION_PORT,
      drain: values.LIFEGUARD_DRAIN,
      certificateDir: values.LIFEGUARD_CERTIFICATE_DIR,
      clientCaFile: values.LIFEGUARD_CLIENT_CA_FILE,
    },
    operationsPort: values.LIFEGUARD_OPERATIONS_PORT,
    host: values.LIFEGUARD_HOST,
    namespace: values.LIFEGUARD_NAMESPACE,
    service: values.LIFEGUARD_SERVICE,
    identity: values.LIFEGUARD_IDENTITY ?? hostname(),
    log: { level: values.LIFEGUARD_LOG_LEVEL, format: values.LIFEGUARD_LOG_FORMAT },
  }
}

function readValues(env: Readonly<Record<string, string | undefined>>): Values {
  const variables: readonly (readonly [string, Variable])[] = Object.entries(VARIABLES)
  const results = variables.map(([name, { read, preset }]) => {
    const text = env[name] === '' ? preset : (env[name] ?? preset)
    return {
      name,
      result: text === undefined ? { success: true as const, data: undefined } : read.safeParse(text),
    }
  })
  const problems = results.flatMap(({ name, result }) => {
    if (!result.success) return result.error.issues.map(({ message }) => `${name} ${message}`)
    return name === REQUIRED && result.data === undefined
      ? [`${name} is not set: where Prefect's API is`]
      : []
  })
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- each value was made by its own variable's parser
  return Object.fromEntries(results.map(({ name, result }) => [name, result.data])) as Values
}

function prefectOf(values: Values): PrefectConfig {
  const optional = {
    apiKey: values.PREFECT_API_KEY,
    authString: values.PREFECT_API_AUTH_STRING,
    customHeaders: values.PREFECT_CLIENT_CUSTOM_HEADERS,
    caFile: values.PREFECT_API_SSL_CERT_FILE,
  }
  return {
    apiUrl: values.PREFECT_API_URL,
    ...withoutAbsent(optional),
    insecureSkipVerify: values.PREFECT_API_TLS_INSECURE_SKIP_VERIFY,
    requestsPerMinute: values.LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE,
  }
}

const verdictOf = (values: Values): VerdictSettings => ({
  failureState: values[HANDLE_FAILURE] ?? 'report',
  honourRetries: values.LIFEGUARD_HONOUR_RETRIES,
  maxNewAttempts: values.LIFEGUARD_MAX_NEW_ATTEMPTS,
  clockTolerance: values.LIFEGUARD_CLOCK_TOLERANCE,
  graces: { ...DEFAULT_SETTINGS.graces, ...gracesOf(values.LIFEGUARD_GRACES) },
  stuckStart: values.LIFEGUARD_STUCK_START,
  stuckStartGrace: values.LIFEGUARD_STUCK_START_GRACE,
  stuckStartGraces: values.LIFEGUARD_STUCK_START_GRACES,
  workPools: values.LIFEGUARD_WORK_POOLS,
})

const gracesOf = (named: Values['LIFEGUARD_GRACES']): Partial<Graces> =>
  Object.fromEntries(
    Object.entries(GRACES).flatMap(([name, grace]) => {
      const value = Object.entries(named).find(([key]) => key === name)?.[1]
      return value === undefined ? [] : [[grace, value]]
    }),
  )

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

/** Absent is absent, not `undefined`. */
const withoutAbsent = <T extends Record<string, unknown>>(values: T): Present<T> =>
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the entries of T that are there
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>
