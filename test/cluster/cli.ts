// `npm run cluster -- up | down | status | build`: the embedded environment, by hand.
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { Command } from 'commander'
import { eventually } from './api.ts'
import type { News } from './background.ts'
import { ensurePrograms } from './build.ts'
import type { EnvironmentOptions, Places } from './environment.ts'
import { isAlive, killGroup } from './kill.ts'
import { ensureVenv } from './prefect/venv.ts'
import { logFile, readState } from './state.ts'

const BACKGROUND = join(import.meta.dirname, 'background.ts')

/** Prefect's worker and server, etcd and the rest take a few seconds each at the worst. */
const STOP_MS = 60_000

const program = new Command('cluster').description(
  'A Kubernetes control plane, a node whose pods are processes, and a Prefect with a worker, in the background.',
)

interface UpOptions {
  readonly prefect: boolean
  readonly kubeconfig?: string
  readonly image?: string
}

program
  .command('up')
  .description('start everything and say where it is; does nothing when it is up')
  .option('--no-prefect', 'Kubernetes alone')
  .option('--kubeconfig <path>', 'use this cluster instead of starting one; also from $KUBECONFIG')
  .option('--image <name>', 'image of the flow runs’ pods, for a cluster with real nodes')
  .action(up)
program.command('down').description('stop everything and remove it').action(down)
program.command('status').description('say what is up; exits with 1 when nothing is').action(status)
program
  .command('build')
  .description(
    'make what the first start would make: the control plane (minutes) and Prefect’s Python environment',
  )
  .action(build)

try {
  await program.parseAsync()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function up({ prefect, image, kubeconfig = process.env['KUBECONFIG'] }: UpOptions): Promise<void> {
  const running = await readState()
  if (running) return print(`# already up\n${describe(running.places)}`)
  const child = await startInBackground({
    prefect,
    ...(image === undefined ? {} : { image }),
    ...(kubeconfig ? { kubeconfig: resolve(kubeconfig) } : {}),
  })
  // Whoever loses patience means it, too, and what it builds; the guards clear away what it has started.
  const cancel = (): void => killGroup(child.pid ?? 0, 'SIGKILL')
  process.on('SIGINT', cancel)
  const places = await untilReady(child)
  process.off('SIGINT', cancel)
  child.unref()
  print(describe(places))
}

async function startInBackground(options: Omit<EnvironmentOptions, 'log'>): Promise<ChildProcess> {
  await mkdir(dirname(logFile()), { recursive: true })
  const log = openSync(logFile(), 'w')
  const child = spawn(process.execPath, [BACKGROUND, JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', log, log, 'ipc'],
  })
  closeSync(log)
  return child
}

/** Shows what happens meanwhile. */
async function untilReady(child: ChildProcess): Promise<Places> {
  return new Promise((done, reject) => {
    child.on('message', (news: News) => {
      if (news.kind === 'line') process.stderr.write(`${news.line}\n`)
      else if (news.kind === 'ready') done(news.places)
      else reject(new Error(news.reason))
    })
    child.once('exit', () => reject(new Error(`it ended; see ${logFile()}`)))
    child.once('error', reject)
  })
}

async function down(): Promise<void> {
  const running = await readState()
  if (!running) return print('nothing is up')
  process.kill(running.pid, 'SIGTERM')
  await eventually(() => isAlive(running.pid), {
    until: alive => !alive,
    what: `process ${running.pid} to stop; see ${logFile()}`,
    timeoutMs: STOP_MS,
  })
  print('down')
}

async function status(): Promise<void> {
  const running = await readState()
  print(running ? describe(running.places) : 'nothing is up')
  if (!running) process.exitCode = 1
}

async function build(): Promise<void> {
  await ensurePrograms()
  await ensureVenv()
}

function describe({ kubeconfig, server, prefectApiUrl, folders }: Places): string {
  const lines = [
    ...(server ? [`# Kubernetes: ${server}`] : []),
    ...(prefectApiUrl ? [`# Prefect: ${prefectApiUrl}`] : []),
    ...(folders.length > 0 ? [`# data and logs: ${folders.join(' ')}`] : []),
    `export KUBECONFIG=${kubeconfig}`,
    ...(prefectApiUrl ? [`export PREFECT_API_URL=${prefectApiUrl}`] : []),
  ]
  return lines.join('\n')
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}
