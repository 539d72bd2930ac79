import { z } from 'zod'

import { STATE_TYPES } from '../core/flow-run.ts'
import type { FlowRun, State } from '../core/flow-run.ts'

/** Where Prefect's answers have what we call by the name on the left. */
const STATE_FIELDS = {
  id: 'id',
  type: 'type',
  name: 'name',
  timestamp: 'timestamp',
  message: 'message',
  transitionId: 'state_details.transition_id',
  scheduledTime: 'state_details.scheduled_time',
} as const

const FLOW_RUN_FIELDS = {
  id: 'id',
  name: 'name',
  state: 'state',
  parentTaskRunId: 'parent_task_run_id',
  deploymentId: 'deployment_id',
  flowId: 'flow_id',
  workPoolId: 'work_pool_id',
  workPoolName: 'work_pool_name',
  infrastructurePid: 'infrastructure_pid',
  runCount: 'run_count',
  retries: 'empirical_policy.retries',
  retryDelaySeconds: 'empirical_policy.retry_delay',
  retryType: 'empirical_policy.retry_type',
} as const

const PREFECT_NAMES: Readonly<Record<string, string>> = { ...STATE_FIELDS, ...FLOW_RUN_FIELDS }

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const at = (value: unknown, path: string): unknown =>
  path.split('.').reduce<unknown>((inner, key) => (isRecord(inner) ? inner[key] : undefined), value)

/** The wanted fields under our names. Prefect's null is our absence. */
const picked =
  (fields: Readonly<Record<string, string>>) =>
  (value: unknown): unknown =>
    isRecord(value)
      ? Object.fromEntries(
          Object.entries(fields)
            .map(([name, path]) => [name, at(value, path)] as const)
            .filter(([, found]) => found !== undefined && found !== null),
        )
      : value

/** Prefect writes times in UTC with an offset; without one it would be read as the local zone's. */
const INSTANT = z.iso.datetime({ offset: true }).transform(text => Date.parse(text))

const STATE = z.preprocess(
  picked(STATE_FIELDS),
  z.object({
    id: z.string(),
    type: z.enum(STATE_TYPES),
    name: z.string(),
    timestamp: INSTANT,
    message: z.string().exactOptional(),
    transitionId: z.string().exactOptional(),
    scheduledTime: INSTANT.exactOptional(),
  }),
)

/**
 * Which infrastructure a worker has made, as `<namespace>:<Job name>`. Before prefect-kubernetes 0.6.0 the cluster's UID
 * stood before that; neither namespaces nor names of Jobs have a colon in them.
 */
const INFRASTRUCTURE_PID = z.string().transform(pid => pid.split(':').slice(-2).join(':'))

const FLOW_RUN = z.preprocess(
  picked(FLOW_RUN_FIELDS),
  z.object({
    id: z.string(),
    name: z.string(),
    state: STATE,
    parentTaskRunId: z.string().exactOptional(),
    deploymentId: z.string().exactOptional(),
    flowId: z.string().exactOptional(),
    workPoolId: z.string().exactOptional(),
    workPoolName: z.string().exactOptional(),
    infrastructurePid: INFRASTRUCTURE_PID.exactOptional(),
    runCount: z.number(),
    retries: z.number().exactOptional(),
    retryDelaySeconds: z.number().exactOptional(),
    retryType: z.enum(['in_process', 'reschedule']).exactOptional(),
  }),
)

/** The little that a look-up of parents needs: nothing odd elsewhere in a run can spoil it. */
const PARENTED = z.preprocess(
  picked({ id: 'id', parentTaskRunId: 'parent_task_run_id' }),
  z.object({ id: z.string(), parentTaskRunId: z.string().exactOptional() }),
)

export type Parented = z.infer<typeof PARENTED>

const nameOf = (path: readonly PropertyKey[]): string =>
  path.map(key => PREFECT_NAMES[String(key)] ?? String(key)).join('.')

const complaintOf = ({ path, message }: z.core.$ZodIssue): string =>
  path.length === 0 ? message : `field ${nameOf(path)}: ${message}`

/**
 * What an answer of Prefect says, checked. Throws a `TypeError` naming what the answer is about and the fields, in
 * Prefect's own words, that are missing or unknown to us: nothing is ever decided on a guess.
 */
const parsed = <T>(schema: z.ZodType<T>, value: unknown, about: string): T => {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const complaints = result.error.issues.map(complaintOf).join('; ')
  throw new TypeError(`Prefect's answer about ${about} makes no sense: ${complaints}`, {
    cause: result.error,
  })
}

const aboutRow = (row: unknown): string => {
  const id = at(row, 'id')
  return typeof id === 'string' ? `flow run ${id}` : 'a flow run without an id'
}

const LIST = z.array(z.unknown())

/** The rows of a list answer, not yet looked at. */
export const parseList = (value: unknown, about: string): readonly unknown[] => parsed(LIST, value, about)

export const parseFlowRun = (row: unknown): FlowRun => parsed(FLOW_RUN, row, aboutRow(row))

export const parseParented = (row: unknown): Parented => parsed(PARENTED, row, aboutRow(row))

export const parseState = (value: unknown, flowRunId: string): State =>
  parsed(STATE, value, `a state of flow run ${flowRunId}`)

const EVENT = z.object({ occurred: INSTANT })

const EVENT_PAGE = z.object({ events: z.array(EVENT) })

/** When the first event of a page occurred; undefined for an empty page. `which` ends the sentence "events ...". */
export const parseFirstOccurred = (value: unknown, which: string): number | undefined =>
  parsed(EVENT_PAGE, value, `events ${which}`).events[0]?.occurred

const NAMED = z.array(z.object({ name: z.string() }))

/** The names of what is listed. */
export const parseNames = (value: unknown, about: string): readonly string[] =>
  parsed(NAMED, value, about).map(({ name }) => name)

const VERSION = z.string()

export const parseVersion = (value: unknown): string => parsed(VERSION, value, 'its version')

const ORCHESTRATED = z.object({
  status: z.enum(['ACCEPT', 'REJECT', 'ABORT', 'WAIT']),
  state: STATE.nullish(),
  details: z.object({
    reason: z.string().nullish(),
    delay_seconds: z.number().nullish(),
  }),
})

export interface Orchestrated {
  readonly status: 'ACCEPT' | 'REJECT' | 'ABORT' | 'WAIT'
  /** Where the run stands now. */
  readonly state?: State
  readonly reason: string
  readonly delayMs: number
}

/** What the server's orchestration rules say to a proposed state. */
export const parseOrchestrated = (value: unknown, flowRunId: string): Orchestrated => {
  const { status, state, details } = parsed(ORCHESTRATED, value, `a proposal for flow run ${flowRunId}`)
  const said = { status, reason: details.reason ?? '', delayMs: (details.delay_seconds ?? 0) * 1000 }
  return state ? { ...said, state } : said
}
