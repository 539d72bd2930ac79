import { hostname } from 'node:os'
import t from 'tap'
import type { Config } from '../../src/config.ts'
import { ConfigError, readConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/config/variables.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'

const API = { PREFECT_API_URL: 'http://prefect.test:4200/api' }

interface Setting {
  /** Where the value is found. */
  readonly of: (config: Config) => unknown
  /** What holds where nothing is set. */
  readonly preset: unknown
  /** By what is written: what it means. */
  readonly good: Readonly<Record<string, unknown>>
  /** By what is written: what is said about it. */
  readonly bad: Readonly<Record<string, string>>
}

const FLAG = 'must be true or false'
const DURATION = 'must be a whole number with a unit, such as 500ms, 30s, 2m or 1h'
const FLAGS_TRUE = { true: true, TRUE: true, '1': true, yes: true, on: true }
const FLAGS_FALSE = { false: false, False: false, '0': false, no: false, off: false }
const PORT = {
  good: { '1': 1, '65535': 65_535, '0': 0 },
  bad: {
    '65536': 'must be at most 65535',
    '-1': 'must be a whole number',
    '80.5': 'must be a whole number',
    http: 'must be a whole number',
  },
}
const LIST = {
  good: { 'a,b': ['a', 'b'], ' a , ,b ': ['a', 'b'], '["a", "b"]': ['a', 'b'], '[]': [] },
  bad: {
    '[1]': 'must be a comma-separated list or a JSON array of texts',
    '["a"': 'must be a comma-separated list or a JSON array of texts',
    '[""]': 'must be a comma-separated list or a JSON array of texts',
  },
}
const MAPPING = {
  good: {
    'a=b': { a: 'b' },
    ' a = b , c=d=e,': { a: 'b', c: 'd=e' },
    '{"a": "b"}': { a: 'b' },
    '{}': {},
  },
  bad: {
    a: 'must be key=value,key=value or a JSON object of texts',
    '=b': 'must be key=value,key=value or a JSON object of texts',
    '{"a": 1}': 'must be key=value,key=value or a JSON object of texts',
    '{"a"': 'must be key=value,key=value or a JSON object of texts',
  },
}
const DURATIONS = {
  good: { '500ms': 500, '30s': 30_000, '2m': 120_000, '1h': 3_600_000, '596h': 2_145_600_000 },
  bad: {
    '30': DURATION,
    '1.5s': DURATION,
    '-1s': DURATION,
    '1d': DURATION,
    '597h': 'must be at most 24 days (596h)',
  },
}
const NAME = (of: Setting['of'], preset: unknown): Setting => ({
  of,
  preset,
  good: { 'a-name': 'a-name' },
  bad: {},
})

const GRACE_NAMES =
  'must be name=duration,name=duration; names: exited_without_reporting, node_lost, close_call, newer_state, cancelling, missing_job, orphan'

const SETTINGS: Readonly<Record<keyof typeof VARIABLES, Setting>> = {
  PREFECT_API_URL: {
    of: ({ prefect }) => prefect.apiUrl,
    preset: API.PREFECT_API_URL,
    good: { 'https://prefect.example/api/': 'https://prefect.example/api/' },
    bad: {
      'prefect.example/api': 'must be an http or https URL',
      'ftp://prefect.example': 'must be an http or https URL',
    },
  },
  PREFECT_API_KEY: NAME(({ prefect }) => prefect.apiKey, undefined),
  PREFECT_API_AUTH_STRING: NAME(({ prefect }) => prefect.authString, undefined),
  PREFECT_CLIENT_CUSTOM_HEADERS: {
    of: ({ prefect }) => prefect.customHeaders,
    preset: undefined,
    ...MAPPING,
  },
  PREFECT_API_TLS_INSECURE_SKIP_VERIFY: {
    of: ({ prefect }) => prefect.insecureSkipVerify,
    preset: false,
    good: { ...FLAGS_TRUE, ...FLAGS_FALSE },
    bad: { maybe: FLAG, '2': FLAG },
  },
  PREFECT_API_SSL_CERT_FILE: NAME(({ prefect }) => prefect.caFile, undefined),
  PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_HANDLE_SUBFLOW_FAILURE_STATE: {
    of: ({ verdict }) => verdict.failureState,
    preset: 'report',
    good: { crashed: 'crashed', failed: 'failed' },
    bad: {
      Crashed: 'must be crashed or failed, or unset to report only',
      report: 'must be crashed or failed, or unset to report only',
    },
  },
  PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES: {
    of: ({ namespaces }) => namespaces,
    preset: [],
    ...LIST,
  },
  PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ADDITIONAL_LABEL_FILTERS: {
    of: ({ labelFilters }) => labelFilters,
    preset: {},
    ...MAPPING,
  },
  LIFEGUARD_HONOUR_RETRIES: {
    of: ({ verdict }) => verdict.honourRetries,
    preset: true,
    good: { ...FLAGS_TRUE, ...FLAGS_FALSE },
    bad: { never: FLAG },
  },
  LIFEGUARD_MAX_NEW_ATTEMPTS: {
    of: ({ verdict }) => verdict.maxNewAttempts,
    preset: DEFAULT_SETTINGS.maxNewAttempts,
    good: { '0': 0, '100': 100 },
    bad: { '101': 'must be at most 100', five: 'must be a whole number' },
  },
  LIFEGUARD_STUCK_START: {
    of: ({ verdict }) => verdict.stuckStart,
    preset: 'report',
    good: { report: 'report', crash: 'crash', 'crash-and-suspend': 'crash-and-suspend' },
    bad: { suspend: 'must be report, crash or crash-and-suspend' },
  },
  LIFEGUARD_STUCK_START_GRACE: {
    of: ({ verdict }) => verdict.stuckStartGrace,
    preset: DEFAULT_SETTINGS.stuckStartGrace,
    ...DURATIONS,
  },
  LIFEGUARD_STUCK_START_GRACES: {
    of: ({ verdict }) => verdict.stuckStartGraces,
    preset: DEFAULT_SETTINGS.stuckStartGraces,
    good: {
      'unschedulable=1h,invalid_image=0s': { unschedulable: 3_600_000, invalid_image: 0 },
      '{"unschedulable": "1h"}': { unschedulable: 3_600_000 },
    },
    bad: {
      'sadness=1h': 'must be name=duration,name=duration; names: oom_killed, ',
      'unschedulable=soon': 'must be name=duration,name=duration; names: oom_killed, ',
    },
  },
  LIFEGUARD_GRACES: {
    of: ({ verdict }) => verdict.graces,
    preset: DEFAULT_SETTINGS.graces,
    good: {
      'node_lost=5m': { ...DEFAULT_SETTINGS.graces, nodeLost: 300_000 },
      'exited_without_reporting=1s,close_call=2s,newer_state=3s,cancelling=4s,missing_job=5s,orphan=6s,node_lost=7s':
        {
          exitedWithoutReporting: 1000,
          closeCall: 2000,
          newerState: 3000,
          cancelling: 4000,
          missingJob: 5000,
          orphan: 6000,
          nodeLost: 7000,
        },
    },
    bad: { 'nodeLost=5m': GRACE_NAMES, 'node_lost=5': GRACE_NAMES, 'node_lost=5000h': GRACE_NAMES },
  },
  LIFEGUARD_CLOCK_TOLERANCE: {
    of: ({ verdict }) => verdict.clockTolerance,
    preset: DEFAULT_SETTINGS.clockTolerance,
    ...DURATIONS,
  },
  LIFEGUARD_WORK_POOLS: { of: ({ verdict }) => verdict.workPools, preset: [], ...LIST },
  LIFEGUARD_ORPHAN_SCAN_INTERVAL: {
    of: config => config.orphanScanInterval,
    preset: 300_000,
    good: { '1s': 1000, '1h': 3_600_000 },
    bad: { ...DURATIONS.bad, '0s': 'must be at least 1s', '999ms': 'must be at least 1s' },
  },
  LIFEGUARD_VALIDATION: {
    of: ({ admission }) => admission.validation,
    preset: 'warn',
    good: { warn: 'warn', enforce: 'enforce', off: 'off' },
    bad: { on: 'must be warn, enforce or off' },
  },
  LIFEGUARD_LOOKUP_DEADLINE: { of: ({ admission }) => admission.lookupDeadline, preset: 900, ...DURATIONS },
  LIFEGUARD_MAX_CONCURRENT_REVIEWS: {
    of: ({ admission }) => admission.maxConcurrent,
    preset: 256,
    good: { '1': 1, '10000': 10_000 },
    bad: { '0': 'must be at least 1', '10001': 'must be at most 10000' },
  },
  LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE: {
    of: ({ prefect }) => prefect.requestsPerMinute,
    preset: 500,
    good: { '10': 10, '100000': 100_000 },
    bad: { '9': 'must be at least 10', '100001': 'must be at most 100000' },
  },
  LIFEGUARD_ADMISSION_PORT: { of: ({ admission }) => admission.port, preset: 8443, ...PORT },
  LIFEGUARD_OPERATIONS_PORT: { of: config => config.operationsPort, preset: 8080, ...PORT },
  LIFEGUARD_HOST: NAME(({ host }) => host, '::'),
  LIFEGUARD_DRAIN: { of: ({ admission }) => admission.drain, preset: 10_000, ...DURATIONS },
  LIFEGUARD_CERTIFICATE_DIR: NAME(({ admission }) => admission.certificateDir, undefined),
  LIFEGUARD_CLIENT_CA_FILE: NAME(({ admission }) => admission.clientCaFile, undefined),
  LIFEGUARD_NAMESPACE: NAME(({ namespace }) => namespace, 'prefect-lifeguard'),
  LIFEGUARD_SERVICE: NAME(({ service }) => service, 'prefect-lifeguard'),
  LIFEGUARD_IDENTITY: NAME(({ identity }) => identity, hostname()),
  LIFEGUARD_LOG_LEVEL: {
    of: ({ log }) => log.level,
    preset: 'info',
    good: { trace: 'trace', debug: 'debug', warn: 'warn', error: 'error', fatal: 'fatal' },
    bad: { verbose: 'must be trace, debug, info, warn, error or fatal' },
  },
  LIFEGUARD_LOG_FORMAT: {
    of: ({ log }) => log.format,
    preset: 'json',
    good: { pretty: 'pretty' },
    bad: { xml: 'must be json or pretty' },
  },
}

function problemOf(env: Readonly<Record<string, string>>): string {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'no problem'
}

for (const [name, { of, preset, good, bad }] of Object.entries(SETTINGS))
  t.test(name, t => {
    t.strictSame(of(readConfig(API)), preset, 'unset')
    if (name !== 'PREFECT_API_URL')
      t.strictSame(of(readConfig({ ...API, [name]: '' })), preset, 'empty: as unset')
    for (const [text, value] of Object.entries(good))
      t.strictSame(of(readConfig({ ...API, [name]: text })), value, `${text} is good`)
    for (const [text, problem] of Object.entries(bad)) {
      const message = problemOf({ ...API, [name]: text })
      t.ok(message.startsWith(`${name} ${problem}`), `${text} is not: ${message}`)
      t.equal(message.split('\n').length, 1, `${text}: one line`)
    }
    t.end()
  })

t.test('what may be secret is never in a message', t => {
  const secret = 'hunter2'
  for (const name of Object.keys(VARIABLES))
    for (const text of [
      secret,
      `${secret}=${secret}`,
      `{"${secret}": 1}`,
      `["${secret}", 1]`,
      `ftp://x:${secret}@y`,
    ])
      t.notMatch(problemOf({ ...API, [name]: text }), secret, name)
  t.end()
})

t.test('all that is wrong or missing is told at once, a line each', t => {
  const problems = problemOf({
    LIFEGUARD_DRAIN: 'soon',
    LIFEGUARD_HOST: 'ok',
    LIFEGUARD_VALIDATION: 'sometimes',
  })
  t.strictSame(
    problems.split('\n').map(line => line.split(' ')[0]),
    ['PREFECT_API_URL', 'LIFEGUARD_VALIDATION', 'LIFEGUARD_DRAIN'],
  )
  t.match(problemOf({ PREFECT_API_URL: '' }), /^PREFECT_API_URL is not set/)
  t.end()
})

t.test('what is absent is absent, not undefined', t => {
  t.strictSame(Object.keys(readConfig(API).prefect), ['apiUrl', 'insecureSkipVerify', 'requestsPerMinute'])
  t.end()
})
