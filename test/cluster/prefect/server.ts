import { copyFile, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { createGuard } from '../guard.ts'
import type { Guard } from '../guard.ts'
import { findFreePort } from '../ports.ts'
import { prefectApi } from './api.ts'
import type { PrefectApiOptions } from './api.ts'
import { startGuardedProcess } from './process.ts'
import type { GuardedProcess } from './process.ts'
import { environmentWith, makeOnce } from './venv.ts'
import type { Venv } from './venv.ts'

const run = promisify(execFile)

/** A server needs about 5 s of a free core, with migrations about 12 s; many times that while a machine is busy. */
const START_MS = 120_000

export interface ServerOptions extends PrefectApiOptions {
  /** Holds the database and Prefect's own files. */
  readonly home: string
  readonly port: number
  readonly log: string
  readonly guard: Guard
  /** Persist events, find late runs and so on. Without, no request is ever answered 503 and the start is no faster. */
  readonly services: boolean
  /** Make the tables; else the database is there already. */
  readonly migrate: boolean
  /** More settings of the server. */
  readonly env?: NodeJS.ProcessEnv
}

/** Starts a Prefect server and waits until it answers queries. @throws with the end of its log if it does not. */
export async function startServerProcess(venv: Venv, options: ServerOptions): Promise<GuardedProcess> {
  // Else whoever answers there would be taken for our server.
  if (await isTaken(options.port))
    throw new Error(`cannot start a Prefect server: port ${options.port} is taken`)
  const server = await startGuardedProcess(options.guard, {
    name: 'prefect server',
    // Not `prefect server start`: the command line takes another second, and makes one process more.
    command: commandOf(venv, options.port),
    env: environmentWith(venv, serverEnvironment(options)),
    cwd: options.home,
    log: options.log,
  })
  const api = prefectApi(`http://127.0.0.1:${options.port}/api`, options)
  const end = Date.now() + START_MS
  while (!(await api.isHealthy())) {
    const gaveUp = Date.now() > end
    if (server.running() && !gaveUp) {
      await delay(100)
      continue
    }
    await server.stop()
    throw await server.failure(
      gaveUp ? 'the Prefect server is not healthy' : 'the Prefect server did not start',
    )
  }
  return server
}

/** Whether something listens there. */
async function isTaken(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Not `prefect server start`: that takes another second, and makes one process more. */
function commandOf(venv: Venv, port: number): string[] {
  const application = 'prefect.server.api.server:create_app'
  const listen = `--host 127.0.0.1 --port ${port} --log-level warning`.split(' ')
  // Workers keep websockets open, which a shutdown would otherwise wait for.
  return [
    venv.python,
    '-m',
    'uvicorn',
    '--factory',
    application,
    ...listen,
    '--timeout-graceful-shutdown',
    '2',
  ]
}

function serverEnvironment(options: ServerOptions): NodeJS.ProcessEnv {
  const { services, migrate, authString, csrf } = options
  return {
    PREFECT_HOME: options.home,
    PREFECT_SERVER_UI_ENABLED: 'false',
    PREFECT_SERVER_ANALYTICS_ENABLED: 'false',
    PREFECT_SERVER_DATABASE_MIGRATE_ON_START: String(migrate),
    PREFECT_SERVER_REGISTER_BLOCKS_ON_START: String(migrate),
    // What `prefect server start` sets for its uvicorn: no second application in this process.
    PREFECT__SERVER_FINAL: '1',
    ...(services ? {} : { PREFECT__SERVER_WEBSERVER_ONLY: '1' }),
    ...(authString === undefined ? {} : { PREFECT_SERVER_API_AUTH_STRING: authString }),
    ...(csrf === true ? { PREFECT_SERVER_CSRF_PROTECTION_ENABLED: 'true' } : {}),
    ...options.env,
  }
}

/**
 * Puts a database with all tables and block types into a server's home. It is made once per Python environment, by a
 * server that migrates (about 12 s), and copied from then on.
 */
export async function copyTemplateDatabase(venv: Venv, home: string): Promise<void> {
  const template = join(venv.folder, 'template.db')
  await makeOnce(`${template}.complete`, venv.python, () => makeTemplateDatabase(venv, template))
  await copyFile(template, join(home, 'prefect.db'))
}

async function makeTemplateDatabase(venv: Venv, template: string): Promise<void> {
  process.stderr.write('prefect: making the template database (once; about 15 seconds)\n')
  const guard = await createGuard()
  const folder = await mkdtemp(join(tmpdir(), 'prefect-template-'))
  guard.afterDeath({ kind: 'folder', path: folder })
  const home = join(folder, 'home')
  await mkdir(home)
  try {
    const settings = { home, log: join(folder, 'server.log'), guard, services: false, migrate: true }
    const server = await startServerProcess(venv, { ...settings, port: await findFreePort() })
    // A copy of the file alone would lack nearly all tables: they are in the write-ahead log.
    const vacuum =
      'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", (sys.argv[2],))'
    await rm(`${template}.new`, { force: true })
    await run(venv.python, ['-c', vacuum, join(home, 'prefect.db'), `${template}.new`])
    await server.stop()
    await rename(`${template}.new`, template)
  } finally {
    // It also removes the folder.
    await guard.close()
  }
}
