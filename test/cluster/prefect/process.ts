import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import type { Guard } from '../guard.ts'

/** A Prefect server or worker ends within a second or two when it can (measured: 0.2 to 1.3 s); beyond this it hangs. */
const TERMINATION_MS = 5_000

/** Enough to hold a Python traceback. */
const LAST_LINES = 25

export interface GuardedProcessOptions {
  /** What it is, for messages. */
  readonly name: string
  readonly command: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly cwd: string
  /** Standard output and error are appended here. */
  readonly log: string
}

/** A process, and those it starts, that ends with ours. */
export interface GuardedProcess {
  readonly name: string
  readonly log: string
  /** Also the id of its process group. */
  readonly pid: number
  readonly running: () => boolean
  /**
   * Waits for its end: the exit code, or 128 + signal when it was killed. Only while somebody waits does it keep this
   * process alive, so a forgotten one does not hang a test.
   */
  readonly exited: () => Promise<number>
  /** Signals the whole group. SIGSTOP and SIGCONT make it hang and go on. Nothing happens once it has ended. */
  readonly signal: (signal: NodeJS.Signals) => void
  /** SIGTERM, then SIGKILL after five seconds; `SIGKILL` at once if asked. Resolves when it is gone. */
  readonly stop: (signal?: 'SIGTERM' | 'SIGKILL') => Promise<void>
  /** `what`, the log file's name and its last lines, as one error. */
  readonly failure: (what: string) => Promise<Error>
}

/**
 * Starts a command in a process group of its own, which the guard kills if this process is gone first.
 * @throws if it cannot be started.
 */
export async function startGuardedProcess(
  guard: Guard,
  options: GuardedProcessOptions,
): Promise<GuardedProcess> {
  const { name, log } = options
  const child = await spawnDetached(options)
  const { pid } = child
  if (pid === undefined) throw new Error(`${name} was started without a process id`)
  const forget = guard.afterDeath({ kind: 'group', pid })
  const exit = exitOf(child).finally(forget)
  const exited = async () => {
    child.ref()
    return exit
  }
  const signal = (signalName: NodeJS.Signals) => {
    if (isRunning(child)) process.kill(-pid, signalName)
  }
  const stop = async (first: NodeJS.Signals = 'SIGTERM') => {
    signal(first)
    // One that was stopped by SIGSTOP takes its SIGTERM only afterwards.
    signal('SIGCONT')
    const timer = setTimeout(() => signal('SIGKILL'), TERMINATION_MS)
    await exited()
    clearTimeout(timer)
  }
  const failure = async (what: string) => new Error(`${what}; last lines of ${log}:\n${await lastLines(log)}`)
  return { name, log, pid, running: () => isRunning(child), exited, signal, stop, failure }
}

async function spawnDetached(options: GuardedProcessOptions): Promise<ChildProcess> {
  const [command = '', ...args] = options.command
  const log = openSync(options.log, 'a')
  try {
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ['ignore', log, log],
    })
    await once(child, 'spawn')
    child.unref()
    return child
  } catch (cause) {
    throw new Error(`starting ${options.name}: ${command}`, { cause })
  } finally {
    closeSync(log)
  }
}

function isRunning(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null
}

async function exitOf(child: ChildProcess): Promise<number> {
  await once(child, 'exit')
  return child.exitCode ?? 128 + (child.signalCode === null ? 0 : constants.signals[child.signalCode])
}

async function lastLines(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '(no log)')
  return text.trimEnd().split('\n').slice(-LAST_LINES).join('\n')
}
