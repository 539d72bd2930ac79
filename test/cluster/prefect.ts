import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createGuard } from './guard.ts'
import type { Guard } from './guard.ts'
import { findFreePort } from './ports.ts'
import { prefectApi } from './prefect/api.ts'
import type { PrefectApi, PrefectApiOptions } from './prefect/api.ts'
import { createOrders, deployFlows, runFlow, runParent } from './prefect/flows.ts'
import type { FlowDeps, FlowName, LocalFlow, Orders, Parent, ParentOptions } from './prefect/flows.ts'
import type { GuardedProcess } from './prefect/process.ts'
import { copyTemplateDatabase, startServerProcess } from './prefect/server.ts'
import { ensureVenv } from './prefect/venv.ts'
import type { Venv } from './prefect/venv.ts'
import { baseJobTemplate, startWorker, WORK_POOL } from './prefect/worker.ts'
import type { WorkerOptions } from './prefect/worker.ts'

/** Nobody pulls it: the process node runs a pod's command on this machine. */
const IMAGE = 'prefect.test/prefect:3.8.8'

export interface PrefectOptions extends PrefectApiOptions {
  /** Absent: the pinned one, made on first use. */
  readonly venv?: Venv
  /** Of another version: for worker, flows and pods. Absent: the server's. */
  readonly clientVenv?: Venv
  /** Absent: any free one. */
  readonly port?: number
  /** On unless false: events are persisted, late runs found. */
  readonly services?: boolean
  /** More settings of the server. */
  readonly serverEnv?: NodeJS.ProcessEnv
}

/** A real Prefect with a database of its own. */
export interface Prefect extends AsyncDisposable {
  /** `http://127.0.0.1:<port>/api` */
  readonly apiUrl: string
  readonly api: PrefectApi
  /** Of worker, flows and pods. */
  readonly venv: Venv
  /** Temporary folder of everything: databases, logs, orders. Removed by `stop`. */
  readonly folder: string
  /** PREFECT_HOME of clients, which share it so that one can read the results another stored. */
  readonly home: string
  /** What a Prefect client needs: PREFECT_API_URL, PREFECT_HOME, PATH with the environment's programs, authorization. */
  readonly env: Readonly<Record<string, string>>
  readonly serverLog: string
  /** An outage: connections are refused afterwards. SIGTERM unless told otherwise. */
  readonly stopServer: (signal?: 'SIGTERM' | 'SIGKILL') => Promise<void>
  /** Ends the outage: same port, same database. */
  readonly startServer: () => Promise<void>
  /** SIGSTOP lets requests hang without an answer, SIGCONT goes on. */
  readonly signalServer: (signal: 'SIGSTOP' | 'SIGCONT') => void
  /** Creates the work pool and a deployment of every flow in it, both named `kubernetes` unless told otherwise. */
  readonly setUpFlows: (options?: FlowSetUp) => Promise<Record<FlowName, string>>
  /** A real Kubernetes worker for the pool, its own observer off unless told otherwise. It stops with the rest. */
  readonly startWorker: (options: WorkerOptions) => Promise<GuardedProcess>
  /** Runs a flow of flows.py in a process of this machine, without a Job: a run of its own, not a subflow run. */
  readonly runFlow: (flow: FlowName, parameters: Record<string, unknown>) => Promise<LocalFlow>
  /** Runs a parent in a process of this machine; resolves once its subflow run exists. */
  readonly runParent: (options: Omit<ParentOptions, 'workPool'> & { workPool?: string }) => Promise<Parent>
  /** Tells waiting flows what to do. */
  readonly orders: Orders
  /** Ends everything that was started here and removes the folder. */
  readonly stop: () => Promise<void>
}

interface FlowSetUp {
  readonly workPool?: string
  /** Image named in the pods. */
  readonly image?: string
  /** More environment of the pods. */
  readonly podEnv?: Readonly<Record<string, string>>
}

/**
 * Starts a Prefect server from a template database (about 5 s; about a minute more on the first use ever) and what
 * belongs to it. Nothing of it outlives this process.
 * @throws with the end of the server's log if it does not start.
 */
export async function startPrefect(options: PrefectOptions = {}): Promise<Prefect> {
  const venv = options.venv ?? (await ensureVenv())
  const clientVenv = options.clientVenv ?? venv
  const guard = await createGuard()
  const folder = await mkdtemp(join(tmpdir(), 'prefect-'))
  guard.afterDeath({ kind: 'folder', path: folder })
  try {
    return await startIn({ venv, clientVenv, guard, folder }, options)
  } catch (error) {
    await guard.close()
    throw error
  }
}

interface Base {
  /** The server's. */
  readonly venv: Venv
  readonly guard: Guard
  readonly folder: string
}

async function startIn(
  { venv, clientVenv, guard, folder }: Base & { readonly clientVenv: Venv },
  options: PrefectOptions,
): Promise<Prefect> {
  const server = await createServer({ venv, guard, folder }, options)
  const home = join(folder, 'home')
  const ordersFolder = join(folder, 'orders')
  const temporary = join(folder, 'tmp')
  for (const each of [home, ordersFolder, temporary]) await mkdir(each)
  const apiUrl = `http://127.0.0.1:${server.port}/api`
  const api = prefectApi(apiUrl, options)
  const env = {
    ...clientEnvironment(clientVenv, { apiUrl, home, authString: options.authString }),
    ORDERS_DIR: ordersFolder,
    // What a killed `prefect flow-run execute` leaves behind goes with the folder.
    TMPDIR: temporary,
    // Else flows.py leaves a __pycache__ in the checkout.
    PYTHONDONTWRITEBYTECODE: '1',
  }
  const children: GuardedProcess[] = []
  const stop = async () => {
    await Promise.all([...children, server].map(child => child.stop()))
    // It also removes the folder.
    await guard.close()
  }
  return {
    apiUrl,
    api,
    venv: clientVenv,
    folder,
    home,
    env,
    serverLog: server.log,
    stopServer: server.stop,
    startServer: server.start,
    signalServer: server.signal,
    ...flowFunctions({ venv: clientVenv, guard, api, env, folder, orders: ordersFolder }, children),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** The part that runs flows; the processes it starts are added to `children`. */
function flowFunctions(deps: FlowDeps, children: GuardedProcess[]) {
  const keep = <T extends GuardedProcess>(child: T): T => {
    children.push(child)
    return child
  }
  return {
    setUpFlows: async ({ workPool = WORK_POOL, image = IMAGE, podEnv = {} }: FlowSetUp = {}) => {
      // An image brings its own PATH, not that of whoever runs the tests.
      const PATH = [deps.venv.bin, '/usr/local/bin', '/usr/bin', '/bin'].join(delimiter)
      const env = { ...deps.env, PATH, HOME: deps.folder, ...podEnv }
      await deps.api.createWorkPool(workPool, baseJobTemplate({ env, image }))
      return deployFlows(deps.api, workPool)
    },
    startWorker: async (options: WorkerOptions) => keep(await startWorker(deps, options)),
    runFlow: async (flow: FlowName, parameters: Record<string, unknown>) =>
      keep(await runFlow(deps, flow, parameters)),
    runParent: async (options: Omit<ParentOptions, 'workPool'> & { workPool?: string }) =>
      keep(await runParent(deps, { workPool: WORK_POOL, ...options })),
    orders: createOrders(deps.orders),
  }
}

interface Server {
  readonly port: number
  readonly log: string
  readonly start: () => Promise<void>
  readonly stop: (signal?: 'SIGTERM' | 'SIGKILL') => Promise<void>
  readonly signal: (signal: NodeJS.Signals) => void
}

/** A started server that can be stopped and started over. */
async function createServer({ venv, guard, folder }: Base, options: PrefectOptions): Promise<Server> {
  const home = join(folder, 'server')
  const log = join(folder, 'server.log')
  await mkdir(home, { recursive: true })
  await copyTemplateDatabase(venv, home)
  const port = options.port ?? (await findFreePort())
  const { services = true, serverEnv = {} } = options
  const settings = { ...options, home, port, log, guard, services, migrate: false, env: serverEnv }
  let current: GuardedProcess | undefined
  const start = async () => {
    if (current?.running()) return
    current = await startServerProcess(venv, settings)
  }
  try {
    await start()
  } catch (error) {
    // Somebody took the port between our look and the server's start.
    if (options.port === undefined && String(error).includes('address already in use'))
      return createServer({ venv, guard, folder }, options)
    throw error
  }
  return {
    port,
    log,
    start,
    stop: async signal => current?.stop(signal),
    signal: name => current?.signal(name),
  }
}

interface ClientSettings {
  readonly apiUrl: string
  readonly home: string
  readonly authString: string | undefined
}

function clientEnvironment(venv: Venv, settings: ClientSettings): Record<string, string> {
  const { authString } = settings
  return {
    PATH: [venv.bin, process.env['PATH'] ?? ''].join(delimiter),
    PREFECT_API_URL: settings.apiUrl,
    PREFECT_HOME: settings.home,
    DO_NOT_TRACK: '1',
    ...(authString === undefined ? {} : { PREFECT_API_AUTH_STRING: authString }),
  }
}
