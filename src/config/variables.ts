import { z } from 'zod'
import { DIAGNOSIS_CODES } from '../core/diagnosis/codes.ts'
import type { Graces } from '../core/settings.ts'
import { DEFAULT_SETTINGS } from '../core/settings.ts'
import { address, duration, durations, flag, interval, list, mapping, whole } from './parsers.ts'

/** One environment variable: how it is read, what holds without it, and what people are told about it. */
export interface Variable<T extends z.ZodType = z.ZodType> {
  readonly read: T
  /** As one would write it; absent: there is none. */
  readonly preset?: string
  readonly about: string
}

function variable<T extends z.ZodType>(read: T, about: string): { read: T; about: string }
function variable<T extends z.ZodType>(
  read: T,
  about: string,
  preset: string,
): { read: T; about: string; preset: string }
function variable<T extends z.ZodType>(read: T, about: string, preset?: string): Variable<T> {
  return { read, about, ...(preset !== undefined && { preset }) }
}

/** Graces as they are called in the environment. */
export const GRACES = {
  exited_without_reporting: 'exitedWithoutReporting',
  node_lost: 'nodeLost',
  close_call: 'closeCall',
  newer_state: 'newerState',
  cancelling: 'cancelling',
  missing_job: 'missingJob',
  orphan: 'orphan',
} as const satisfies Readonly<Record<string, keyof Graces>>

type GraceName = keyof typeof GRACES

const GRACE_NAMES = Object.keys(GRACES).filter((name): name is GraceName => name in GRACES)

const OBSERVER = 'PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_'

/** The variable that matters most. */
export const HANDLE_FAILURE = `${OBSERVER}HANDLE_SUBFLOW_FAILURE_STATE` as const
export const NAMESPACES = `${OBSERVER}NAMESPACES` as const
export const LABEL_FILTERS = `${OBSERVER}ADDITIONAL_LABEL_FILTERS` as const

/** Every variable that is read, in the order in which the README lists them. */
export const VARIABLES = {
  PREFECT_API_URL: variable(address, "Prefect's API, such as `http://prefect-server.prefect:4200/api`."),
  PREFECT_API_KEY: variable(z.string().min(1), 'API key of Prefect Cloud.'),
  PREFECT_API_AUTH_STRING: variable(
    z.string().min(1),
    '`user:password` of a server with basic authentication.',
  ),
  PREFECT_CLIENT_CUSTOM_HEADERS: variable(mapping, 'Headers for every request, as a JSON object.'),
  PREFECT_API_TLS_INSECURE_SKIP_VERIFY: variable(flag, "Do not check Prefect's certificate.", 'false'),
  PREFECT_API_SSL_CERT_FILE: variable(z.string().min(1), 'PEM file of the CA that signed it.'),
  [HANDLE_FAILURE]: variable(
    z.enum(['crashed', 'failed'], 'must be crashed or failed, or unset to report only'),
    'What a dead run becomes. Unset: labels and diagnoses only; every verdict is logged, counted and shown, no state is changed.',
  ),
  [NAMESPACES]: variable(list, 'Namespaces to watch; needs no cluster-wide rights. Unset: all.', ''),
  [LABEL_FILTERS]: variable(mapping, 'Only Jobs and pods that carry these labels, too.', ''),
  LIFEGUARD_HONOUR_RETRIES: variable(
    flag,
    "Give a dead run a new attempt while Prefect's `retries` allow it.",
    'true',
  ),
  LIFEGUARD_MAX_NEW_ATTEMPTS: variable(
    whole(0, 100),
    'How many of a run’s attempts may be ours, over its whole life.',
    String(DEFAULT_SETTINGS.maxNewAttempts),
  ),
  LIFEGUARD_STUCK_START: variable(
    z.enum(['report', 'crash', 'crash-and-suspend'], 'must be report, crash or crash-and-suspend'),
    'What to do with a run whose pod cannot start (image, quota, volume, scheduling), after its grace.',
    DEFAULT_SETTINGS.stuckStart,
  ),
  LIFEGUARD_STUCK_START_GRACE: variable(duration, 'That grace.', '10m'),
  LIFEGUARD_STUCK_START_GRACES: variable(
    durations(DIAGNOSIS_CODES),
    'That grace by diagnosis, such as `unschedulable=1h,invalid_image=1m`.',
    'invalid_image=1m',
  ),
  LIFEGUARD_GRACES: variable(
    durations(GRACE_NAMES),
    `Other waits: ${GRACE_NAMES.map(name => `\`${name}\``).join(', ')}.`,
    'exited_without_reporting=30s,node_lost=2m,close_call=3m,newer_state=400s,cancelling=1m,missing_job=10m,orphan=2m',
  ),
  LIFEGUARD_CLOCK_TOLERANCE: variable(
    duration,
    'How far the clocks of Prefect and Kubernetes may differ.',
    '5s',
  ),
  LIFEGUARD_WORK_POOLS: variable(
    list,
    'Work pools whose Jobs can only be in this cluster: here a run without a trace is dead, elsewhere it is reported.',
    '',
  ),
  LIFEGUARD_ORPHAN_SCAN_INTERVAL: variable(
    interval,
    "How often Prefect's live subflow runs are compared with the cluster.",
    '5m',
  ),
  LIFEGUARD_VALIDATION: variable(
    z.enum(['warn', 'enforce', 'off'], 'must be warn, enforce or off'),
    'What the validating webhook does about forged or removed labels and finalizers.',
    'warn',
  ),
  LIFEGUARD_LOOKUP_DEADLINE: variable(
    duration,
    'How long admission waits for Prefect before the object passes unlabelled (the observer labels it then).',
    '900ms',
  ),
  LIFEGUARD_MAX_CONCURRENT_REVIEWS: variable(
    whole(1, 10_000),
    'Beyond so many at a time, objects pass at once, unlabelled.',
    '256',
  ),
  LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE: variable(
    whole(10, 100_000),
    'Everything this process asks of Prefect.',
    '500',
  ),
  LIFEGUARD_ADMISSION_PORT: variable(whole(0, 65_535), 'Port of `/mutate` and `/validate` (TLS).', '8443'),
  LIFEGUARD_OPERATIONS_PORT: variable(
    whole(0, 65_535),
    'Port of `/livez`, `/readyz`, `/metrics` and, at `/`, the status page.',
    '8080',
  ),
  LIFEGUARD_HOST: variable(z.string().min(1), 'Address to listen on.', '::'),
  LIFEGUARD_DRAIN: variable(
    duration,
    'How long to serve on after SIGTERM while the API server lets go.',
    '10s',
  ),
  LIFEGUARD_CERTIFICATE_DIR: variable(
    z.string().min(1),
    'Folder with `tls.crt` and `tls.key` that somebody else renews (cert-manager). Unset: certificates look after themselves.',
  ),
  LIFEGUARD_CLIENT_CA_FILE: variable(
    z.string().min(1),
    'PEM file, read at start. With it only API servers that show a client certificate of this authority are answered: see docs/security.md.',
  ),
  LIFEGUARD_NAMESPACE: variable(
    z.string().min(1),
    'Our own namespace: of the Secret, the Lease and the Service.',
    'prefect-lifeguard',
  ),
  LIFEGUARD_SERVICE: variable(
    z.string().min(1),
    'Name of our Service, service account, Lease and webhook configurations.',
    'prefect-lifeguard',
  ),
  LIFEGUARD_IDENTITY: variable(z.string().min(1), "Who we are in the Lease. Unset: the pod's name."),
  LIFEGUARD_LOG_LEVEL: variable(
    z.enum(
      ['trace', 'debug', 'info', 'warn', 'error', 'fatal'],
      'must be trace, debug, info, warn, error or fatal',
    ),
    '`debug` adds the trail of every verdict.',
    'info',
  ),
  LIFEGUARD_LOG_FORMAT: variable(
    z.enum(['json', 'pretty'], 'must be json or pretty'),
    '`pretty` is for people.',
    'json',
  ),
} as const satisfies Readonly<Record<string, Variable>>
