import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Guard } from './guard.ts'
import { killGroup } from './kill.ts'

/** Enough for the reason; a Go panic puts it first, klog and etcd last. */
const LAST_LINES = 15

/** How long a component may take to end by itself. The slowest, kube-apiserver with open watches, takes under a second. */
const TERMINATION_MS = 5_000

export interface ComponentOptions {
  readonly name: string
  /** The program and the arguments that come before `args`. */
  readonly command: readonly string[]
  readonly args: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Standard output and error are appended here. */
  readonly logFile: string
  readonly guard: Guard
}

/** A running program of the control plane. */
export interface Component {
  readonly name: string
  readonly pid: number
  /** How it ended, as a sentence. */
  readonly exited: Promise<string>
  /** SIGTERM, then SIGKILL; or another first signal. Resolves when it is gone. */
  readonly stop: (signal?: NodeJS.Signals) => Promise<void>
  /** An error with `what` happened, the name of the log file and its last lines. */
  readonly failure: (what: string) => Promise<Error>
}

/**
 * Starts a program in a process group of its own, so that Ctrl-C reaches only us and we stop it in good order.
 * @throws if it cannot be started.
 */
export async function startComponent(options: ComponentOptions): Promise<Component> {
  const [file = '', ...prefix] = options.command
  const log = openSync(options.logFile, 'a')
  const child = spawn(file, [...prefix, ...options.args], {
    detached: true,
    stdio: ['ignore', log, log],
    env: options.env,
  })
  closeSync(log)
  const { pid } = child
  if (pid === undefined) {
    const [cause] = await once(child, 'error')
    throw new Error(`starting ${options.name}: ${file}`, { cause })
  }
  const release = options.guard.afterDeath({ kind: 'group', pid })
  // Whoever forgets to stop us can still end: the guard sees to the rest.
  child.unref()
  const exited = once(child, 'exit').then(([code, signal]) => {
    release()
    return signal ? `ended by ${String(signal)}` : `exited with code ${String(code)}`
  })
  return {
    name: options.name,
    pid,
    exited,
    stop: async (signal = 'SIGTERM') => {
      child.ref()
      killGroup(pid, signal)
      const inTime = await Promise.race([exited, sleep(TERMINATION_MS, undefined, { ref: false })])
      if (inTime === undefined) killGroup(pid, 'SIGKILL')
      await exited
    },
    failure: async what =>
      new Error(
        `${options.name} ${what}; the end of ${options.logFile}:\n${await lastLines(options.logFile)}`,
      ),
  }
}

async function lastLines(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.trimEnd().split('\n').slice(-LAST_LINES).join('\n')
}
