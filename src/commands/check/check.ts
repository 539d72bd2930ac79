import { checkCanary } from './canary.ts'
import { checkClocks } from './clocks.ts'
import { checkKubernetes } from './kubernetes.ts'
import { checkPrefect } from './prefect.ts'
import type { Whose } from './rights.ts'
import { checkRights } from './rights.ts'
import { checkWebhooks } from './webhooks.ts'
import type { Finding } from './finding.ts'
import { ok, skipped } from './finding.ts'
import type { Foundation, Targets } from '../foundation.ts'
import { targetsInWords } from '../foundation.ts'
import { EXIT_CODES } from '../once.ts'
import { tableOf } from '../table.ts'

/**
 * Looks at everything that an installation stands on, changing nothing: both APIs, rights, registration, certificates,
 * clocks, and what in Prefect and in our own settings matters. Never rejects but by the signal.
 */
export async function check(
  foundation: Foundation,
  whose: Whose,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const [kubernetes, prefect] = await Promise.all([
    timed(checkKubernetes(foundation, signal)),
    timed(checkPrefect(foundation, signal)),
  ])
  const clocks = checkClocks(
    {
      kubernetes: kubernetes.answer.time,
      prefect: prefect.answer.time,
      here: { kubernetes: kubernetes.at, prefect: prefect.at },
    },
    foundation.config.verdict.clockTolerance,
  )
  const isReached = kubernetes.answer.finding.health !== 'error'
  const cluster = isReached
    ? await checkCluster(foundation, whose, signal)
    : [skipped('rights, webhooks', 'the API server does not answer')]
  return [
    kubernetes.answer.finding,
    prefect.answer.finding,
    clocks,
    ...prefect.answer.more,
    settingFinding(foundation),
    ...cluster,
  ]
}

/** With our clock at the moment of the answer. */
async function timed<T>(work: Promise<T>): Promise<{ readonly answer: T; readonly at: number }> {
  const answer = await work
  return { answer, at: Date.now() }
}

async function checkCluster(
  foundation: Foundation,
  whose: Whose,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const [rights, webhooks, canary] = await Promise.all([
    checkRights(foundation, whose, signal),
    checkWebhooks(foundation, signal),
    checkCanary(foundation, signal),
  ])
  return [...rights, ...webhooks, canary]
}

const STATES = {
  report: 'unset: verdicts are told, no state is changed',
  crashed: 'dead runs become Crashed',
  failed: 'dead runs become Failed',
} as const

/** The setting that matters most, as this process has it. */
const settingFinding = ({ config }: Foundation): Finding =>
  ok(
    'HANDLE_SUBFLOW_FAILURE_STATE',
    `${STATES[config.verdict.failureState]} (as set where this command runs)`,
  )

const MARKS = { ok: 'ok', warning: 'warning', error: 'ERROR', skipped: 'skipped' } as const

/** A table, and below it what to do. */
export function findingsInWords(findings: readonly Finding[], targets: Targets): string {
  const rows = findings.map(({ name, health, detail }) => [MARKS[health], name, detail])
  const toDo = findings.flatMap(({ name, advice }) => (advice === undefined ? [] : [`${name}: ${advice}.\n`]))
  return [
    targetsInWords(targets),
    tableOf([['', 'CHECK', 'FOUND'], ...rows]),
    ...(toDo.length > 0 ? ['\nWhat to do\n', ...toDo] : []),
  ].join('')
}

/** The same for programs. */
export const findingsAsJson = (findings: readonly Finding[], targets: Targets) => ({
  targets,
  isWell: codeOfFindings(findings) === EXIT_CODES.well,
  findings,
})

/** Warnings are worth reading; errors are worth stopping for. */
export const codeOfFindings = (findings: readonly Finding[]): number =>
  findings.some(({ health }) => health === 'error') ? EXIT_CODES.found : EXIT_CODES.well
