import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { z } from 'zod'

const stateSchema = z.looseObject({
  id: z.string(),
  type: z.string(),
  name: z.string(),
  timestamp: z.string(),
  message: z.string().nullish(),
  state_details: z.looseObject({
    transition_id: z.string().nullish(),
    scheduled_time: z.string().nullish(),
    child_flow_run_id: z.string().nullish(),
  }),
})

const flowRunSchema = z.looseObject({
  id: z.string(),
  name: z.string(),
  flow_id: z.string(),
  deployment_id: z.string().nullish(),
  parent_task_run_id: z.string().nullish(),
  infrastructure_pid: z.string().nullish(),
  run_count: z.number(),
  start_time: z.string().nullish(),
  end_time: z.string().nullish(),
  empirical_policy: z.looseObject({
    retries: z.number().nullish(),
    retry_delay: z.number().nullish(),
    retry_type: z.string().nullish(),
  }),
  state: stateSchema,
})

const taskRunSchema = z.looseObject({
  id: z.string(),
  flow_run_id: z.string().nullish(),
  state: stateSchema.nullish(),
})

const logSchema = z.looseObject({ level: z.number(), message: z.string(), timestamp: z.string() })

const eventSchema = z.looseObject({
  id: z.string(),
  event: z.string(),
  occurred: z.string(),
  resource: z.record(z.string(), z.string()),
  related: z.array(z.record(z.string(), z.string())),
  payload: z.record(z.string(), z.unknown()),
})

const orchestrationSchema = z.looseObject({
  status: z.enum(['ACCEPT', 'REJECT', 'ABORT', 'WAIT']),
  state: stateSchema.nullish(),
  details: z.looseObject({ reason: z.string().nullish() }),
})

const identifiedSchema = z.looseObject({ id: z.string() })

export type State = z.infer<typeof stateSchema>
type FlowRun = z.infer<typeof flowRunSchema>
type TaskRun = z.infer<typeof taskRunSchema>
type Log = z.infer<typeof logSchema>
type PrefectEvent = z.infer<typeof eventSchema>
type Orchestration = z.infer<typeof orchestrationSchema>

/** A state as it is proposed; Prefect gives it id and timestamp. */
interface NewState {
  readonly type: string
  readonly name?: string
  readonly message?: string
  readonly state_details?: Record<string, unknown>
}

interface NewDeployment {
  readonly name: string
  /** Name of the flow, which is created with it. */
  readonly flow: string
  /** Absent: a deployment that no worker looks after, for runs whose states a test sets itself. */
  readonly workPool?: string
  /** `file.py:function`, relative to `directory`. */
  readonly entrypoint?: string
  readonly directory?: string
  readonly jobVariables?: Record<string, unknown>
}

interface NewFlowRun {
  readonly deploymentId: string
  readonly name?: string
  readonly parameters?: Record<string, unknown>
  readonly jobVariables?: Record<string, unknown>
  readonly parentTaskRunId?: string
  readonly state?: NewState
}

interface NewSubflowRun extends Omit<NewFlowRun, 'parentTaskRunId' | 'state'> {
  /** An existing parent; absent: a new Running one. */
  readonly parentFlowRunId?: string
  /** The states to walk through, such as PENDING and RUNNING; absent: it stays Scheduled, and a worker takes it. */
  readonly states?: readonly string[]
  /** `<namespace>:<Job name>`, as a worker sets it after it created the Job. */
  readonly infrastructurePid?: string
}

interface SubflowRun {
  readonly flowRunId: string
  readonly parentTaskRunId: string
  readonly parentFlowRunId: string
}

interface EventQuery {
  /** `prefect.flow-run.<id>` */
  readonly resourceId: string
  /** Only events whose name starts so. */
  readonly prefix?: string
}

export interface WaitOptions {
  readonly timeoutMs?: number
  readonly pollMs?: number
}

export interface PrefectApiOptions {
  /** `user:password`, if the server asks for it. */
  readonly authString?: string
  /** Fetch a CSRF token and send it with every change. */
  readonly csrf?: boolean
}

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE'

/** What tests ask of Prefect. Every function throws with method, path, status and the server's own words. */
export interface PrefectApi {
  readonly url: string
  /** Any other request; the path is below the API URL. Resolves with the JSON body, undefined where there is none. */
  readonly send: (method: Method, path: string, body?: unknown) => Promise<unknown>
  readonly isHealthy: () => Promise<boolean>
  readonly readFlowRun: (id: string) => Promise<FlowRun>
  /** With a Prefect filter such as `{ flow_runs: { id: { any_: [...] } } }`. */
  readonly filterFlowRuns: (filter: Record<string, unknown>) => Promise<FlowRun[]>
  /** Runs whose parent task run belongs to this flow run. */
  readonly readSubflowRuns: (parentFlowRunId: string) => Promise<FlowRun[]>
  readonly readTaskRun: (id: string) => Promise<TaskRun>
  /** All states the run ever had, oldest first. */
  readonly readStates: (flowRunId: string) => Promise<State[]>
  readonly readLogs: (flowRunId: string) => Promise<Log[]>
  /** Events that were persisted, oldest first; a server without services persists none, one with services within seconds. */
  readonly readEvents: (query: EventQuery) => Promise<PrefectEvent[]>
  readonly createWorkPool: (name: string, baseJobTemplate: unknown) => Promise<void>
  /** Names of the workers of a pool that are online. */
  readonly readWorkers: (workPool: string) => Promise<string[]>
  /** Id of the flow of this name, created if need be. */
  readonly createFlow: (name: string) => Promise<string>
  /** Id of the deployment, created or changed. */
  readonly createDeployment: (deployment: NewDeployment) => Promise<string>
  /** A new run of a deployment: Scheduled for now unless told otherwise. */
  readonly createFlowRun: (run: NewFlowRun) => Promise<FlowRun>
  /** A run that belongs to a parent run, as `run_deployment` makes it, without a parent process. */
  readonly createSubflowRun: (run: NewSubflowRun) => Promise<SubflowRun>
  readonly setState: (flowRunId: string, state: NewState, force?: boolean) => Promise<Orchestration>
  readonly updateFlowRun: (flowRunId: string, changes: Record<string, unknown>) => Promise<void>
  /** Waits for a state of one of these types or names. @throws after two minutes (or `timeoutMs`) with the states it had. */
  readonly waitForState: (
    flowRunId: string,
    typesOrNames: readonly string[],
    options?: WaitOptions,
  ) => Promise<FlowRun>
}

/** Only a failure takes so long: a pod's Python alone needs 5 to 10 s of a core, and a busy machine gives it a part of one. */
const WAIT_MS = 120_000

/** Every question costs the server some 5 ms of a core (measured), which flows need more. */
const POLL_MS = 200

/** Waits until `look` finds something. @throws after two minutes (or `timeoutMs`), saying what was awaited. */
export async function waitFor<T>(
  what: string,
  look: () => Promise<T | undefined>,
  options: WaitOptions = {},
): Promise<T> {
  const end = Date.now() + (options.timeoutMs ?? WAIT_MS)
  for (;;) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`gave up waiting for ${what}`)
    await delay(options.pollMs ?? POLL_MS)
  }
}

/** A client for tests, against a server with or without authorization. */
export function prefectApi(url: string, options: PrefectApiOptions = {}): PrefectApi {
  const send = createSend(url, options)
  return { url, send, ...runs(send), ...creation(send), ...records(send) }
}

type Send = PrefectApi['send']

function runs(send: Send) {
  const readFlowRun: PrefectApi['readFlowRun'] = async id =>
    flowRunSchema.parse(await send('GET', `/flow_runs/${id}`))
  const filterFlowRuns: PrefectApi['filterFlowRuns'] = async filter =>
    z.array(flowRunSchema).parse(await send('POST', '/flow_runs/filter', filter))
  const readStates: PrefectApi['readStates'] = async id =>
    z
      .array(stateSchema)
      .parse(await send('GET', `/flow_run_states/?flow_run_id=${id}`))
      .toSorted((a, b) => Date.parse(a.timestamp) - Date.parse(b.timestamp))
  return {
    readFlowRun,
    readStates,
    filterFlowRuns,
    readSubflowRuns: (id: string) => filterFlowRuns({ flow_runs: { parent_flow_run_id: { any_: [id] } } }),
    setState: (id: string, state: NewState, force = false) => propose(send, { id, state, force }),
    updateFlowRun: async (id: string, changes: Record<string, unknown>) => {
      await send('PATCH', `/flow_runs/${id}`, changes)
    },
    waitForState: async (id: string, wanted: readonly string[], options: WaitOptions = {}) => {
      const look = async () => {
        const run = await readFlowRun(id)
        return wanted.includes(run.state.type) || wanted.includes(run.state.name) ? run : undefined
      }
      try {
        return await waitFor(`flow run ${id} to be ${wanted.join(' or ')}`, look, options)
      } catch (cause) {
        const states = (await readStates(id)).map(state => `${state.name}: ${state.message ?? ''}`)
        throw new Error(`flow run ${id} did not become ${wanted.join(' or ')}; ${states.join(' -> ')}`, {
          cause,
        })
      }
    },
  }
}

interface Proposal {
  readonly id: string
  readonly state: NewState
  readonly force?: boolean
}

async function propose(send: Send, { id, state, force = false }: Proposal): Promise<Orchestration> {
  return orchestrationSchema.parse(await send('POST', `/flow_runs/${id}/set_state`, { state, force }))
}

function creation(send: Send) {
  const create = async (path: string, body: unknown) =>
    identifiedSchema.parse(await send('POST', path, body)).id
  const createFlow = (name: string) => create('/flows/', { name })
  const createFlowRun: PrefectApi['createFlowRun'] = async run => {
    const body = {
      ...(run.name === undefined ? {} : { name: run.name }),
      ...(run.state === undefined ? {} : { state: run.state }),
      parameters: run.parameters ?? {},
      job_variables: run.jobVariables ?? {},
      parent_task_run_id: run.parentTaskRunId,
    }
    return flowRunSchema.parse(await send('POST', `/deployments/${run.deploymentId}/create_flow_run`, body))
  }
  const createRunningParent = async () => {
    const flowId = await createFlow('parent')
    return create('/flow_runs/', { flow_id: flowId, state: { type: 'RUNNING', name: 'Running' } })
  }
  const createSubflowRun: PrefectApi['createSubflowRun'] = async run => {
    const parentFlowRunId = run.parentFlowRunId ?? (await createRunningParent())
    const parentTaskRunId = await create('/task_runs/', {
      flow_run_id: parentFlowRunId,
      task_key: 'subflow',
      dynamic_key: randomUUID(),
      state: { type: 'PENDING', name: 'Pending' },
    })
    const { id } = await createFlowRun({ ...run, parentTaskRunId })
    for (const type of run.states ?? []) {
      const { status } = await propose(send, { id, state: { type } })
      if (status !== 'ACCEPT') throw new Error(`flow run ${id} did not become ${type}: ${status}`)
    }
    const { infrastructurePid } = run
    if (infrastructurePid !== undefined)
      await send('PATCH', `/flow_runs/${id}`, { infrastructure_pid: infrastructurePid })
    return { flowRunId: id, parentTaskRunId, parentFlowRunId }
  }
  return {
    createFlow,
    createFlowRun,
    createSubflowRun,
    createWorkPool: async (name: string, baseJobTemplate: unknown) => {
      await send('POST', '/work_pools/', { name, type: 'kubernetes', base_job_template: baseJobTemplate })
    },
    createDeployment: async (deployment: NewDeployment) =>
      create('/deployments/', deploymentBody(deployment, await createFlow(deployment.flow))),
  }
}

function deploymentBody(deployment: NewDeployment, flowId: string): Record<string, unknown> {
  const { directory } = deployment
  return {
    name: deployment.name,
    flow_id: flowId,
    work_pool_name: deployment.workPool,
    entrypoint: deployment.entrypoint,
    path: directory,
    // Without it Prefect copies the folder into the working directory.
    pull_steps:
      directory === undefined
        ? undefined
        : [{ 'prefect.deployments.steps.set_working_directory': { directory } }],
    job_variables: deployment.jobVariables ?? {},
    enforce_parameter_schema: false,
  }
}

function records(send: Send) {
  return {
    isHealthy: async () => {
      try {
        // /health says true even while every query fails for want of tables (seen on a half-copied database).
        const healthy = await send('GET', '/health')
        return healthy === true && Array.isArray(await send('POST', '/flow_runs/filter', { limit: 1 }))
      } catch {
        return false
      }
    },
    readTaskRun: async (id: string) => taskRunSchema.parse(await send('GET', `/task_runs/${id}`)),
    readLogs: async (id: string) =>
      z.array(logSchema).parse(
        await send('POST', '/logs/filter', {
          logs: { flow_run_id: { any_: [id] } },
          sort: 'TIMESTAMP_ASC',
        }),
      ),
    readEvents: async ({ resourceId, prefix }: EventQuery) => {
      const filter = {
        resource: { id: [resourceId] },
        ...(prefix === undefined ? {} : { event: { prefix: [prefix] } }),
        order: 'ASC',
      }
      const answer = await send('POST', '/events/filter', { filter, limit: 50 })
      return z.object({ events: z.array(eventSchema) }).parse(answer).events
    },
    readWorkers: async (workPool: string) =>
      z
        .array(z.looseObject({ name: z.string(), status: z.string() }))
        .parse(await send('POST', `/work_pools/${workPool}/workers/filter`, {}))
        .filter(worker => worker.status === 'ONLINE')
        .map(worker => worker.name),
  }
}

/**
 * With sqlite, 1 to 2 % of the writes are answered 503 for lock contention, without Retry-After (measured). Its lock
 * goes to whoever asks at the right moment: beside three other writers on a busy machine one waited for 14 s.
 */
const BUSY_MS = 120_000
const BUSY_DELAY_MS = 200
const TIMEOUT_MS = 20_000

function createSend(url: string, options: PrefectApiOptions): Send {
  const authorization = authorizationOf(options)
  const csrf = createCsrf(url, options, authorization)
  return async (method, path, body) =>
    ask({ method, url: `${url}${path}`, body }, { ...authorization, ...(await csrf(method)) })
}

function authorizationOf({ authString }: PrefectApiOptions): Record<string, string> {
  if (authString === undefined) return {}
  return { authorization: `Basic ${Buffer.from(authString).toString('base64')}` }
}

/** Headers for a change. The token is good for an hour; asking for another would end the first, so there is one client per api. */
function createCsrf(url: string, { csrf }: PrefectApiOptions, authorization: Record<string, string>) {
  const client = randomUUID()
  const fetchToken = async () => {
    const answer = await ask({ method: 'GET', url: `${url}/csrf-token?client=${client}` }, authorization)
    return z.object({ token: z.string() }).parse(answer).token
  }
  let token: Promise<string> | undefined
  return async (method: Method): Promise<Record<string, string>> => {
    if (csrf !== true || method === 'GET') return {}
    token ??= fetchToken()
    return { 'prefect-csrf-token': await token, 'prefect-csrf-client': client }
  }
}

interface Question {
  readonly method: Method
  readonly url: string
  readonly body?: unknown
}

/** Asks until the server is not too busy to answer. @throws with its own words if it refuses. */
async function ask(question: Question, headers: Record<string, string>): Promise<unknown> {
  const end = Date.now() + BUSY_MS
  for (;;) {
    const { status, text } = await askOnce(question, headers)
    if (status < 300) return text === '' ? undefined : JSON.parse(text)
    if (status !== 503 || Date.now() > end)
      throw new Error(`${question.method} ${question.url} answered ${status}: ${text.slice(0, 500)}`)
    await delay(BUSY_DELAY_MS * (0.5 + Math.random()))
  }
}

async function askOnce({ method, url, body }: Question, headers: Record<string, string>) {
  const answer = await request(url, {
    method,
    headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    body: body === undefined ? null : JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT_MS),
    // uvicorn closes idle connections after 5 s, and sooner when it is busy: a request on one of them is lost.
    reset: true,
  })
  return { status: answer.statusCode, text: await answer.body.text() }
}
