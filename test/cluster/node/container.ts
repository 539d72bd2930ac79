import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { closeSync, existsSync, openSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { constants } from 'node:os'
import { dirname } from 'node:path'
import { killGroup, killMarked } from '../kill.ts'
import { timestamp } from '../time.ts'
import type { Environment } from './environment.ts'
import type { Terminated } from './status.ts'

/** In the environment of every process of a container, so that all are found when it ends. */
const MARKER = 'PROCESS_NODE_CONTAINER'

export interface ContainerOptions {
  readonly argv: readonly string[]
  readonly env: Environment
  /** The container's own folder: working directory where `workingDir` is absent or does not exist, and HOME. */
  readonly folder: string
  readonly workingDir: string | undefined
  readonly logFile: string
  /** As `terminationMessagePolicy: FallbackToLogsOnError`: the end of the log is the message of a failure. */
  readonly messageFromLog: boolean
}

/** How the kernel or a machine's end would have ended it. */
export type Cause = 'OOMKilled' | 'MachineGone'

/** A container as a local process, and whatever processes that starts. */
export interface ContainerProcess {
  /** `process://` and 64 digits. */
  readonly id: string
  readonly startedAt: string
  readonly exited: Promise<Terminated>
  /** To the first process alone, as a container runtime does. */
  readonly signal: (signal: NodeJS.Signals) => void
  /** SIGKILL to every process. The cause decides what the status will say. */
  readonly kill: (cause?: Cause) => void
}

/** 4096 bytes or 80 lines, what a kubelet takes from a log for a termination message. */
const MESSAGE_BYTES = 4_096
const MESSAGE_LINES = 80

/** Starts a container's command. A command that cannot be started has ended, as a runtime says it: 128, StartError. */
export async function startContainer(options: ContainerOptions): Promise<ContainerProcess> {
  const { argv, env, folder, workingDir, logFile } = options
  await mkdir(folder, { recursive: true })
  await mkdir(dirname(logFile), { recursive: true })
  const digits = randomBytes(32).toString('hex')
  const id = `process://${digits}`
  const [file = '', ...args] = argv
  const log = openSync(logFile, 'a')
  const child = spawn(file, args, {
    cwd: workingDir !== undefined && existsSync(workingDir) ? workingDir : folder,
    env: { ...env, [MARKER]: digits },
    stdio: ['ignore', log, log],
    // A session of its own: Ctrl-C is not for it.
    detached: true,
  })
  closeSync(log)
  const { pid } = child
  if (pid === undefined) {
    await once(child, 'error')
    return notStarted(id, file)
  }
  child.unref()
  const startedAt = timestamp()
  let cause: Cause | undefined
  const exited = once(child, 'exit').then(async ([code, signal]: unknown[]): Promise<Terminated> => {
    // A container ends with its first process: the kernel kills the others.
    killGroup(pid, 'SIGKILL')
    await killMarked(`${MARKER}=${digits}`)
    const exitCode = exitCodeOf(code, signal)
    const message = options.messageFromLog && exitCode !== 0 ? await endOf(logFile) : undefined
    return {
      kind: 'terminated',
      ...outcomeOf(exitCode, cause),
      ...(message ? { message } : {}),
      startedAt,
      finishedAt: timestamp(),
      containerID: id,
    }
  })
  return {
    id,
    startedAt,
    exited,
    signal: signal => {
      if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    },
    kill: why => {
      if (child.exitCode !== null || child.signalCode !== null) return
      cause ??= why
      // Somebody will wait for its end, perhaps with nothing else to do.
      child.ref()
      killGroup(pid, 'SIGKILL')
    },
  }
}

function exitCodeOf(code: unknown, signal: unknown): number {
  if (typeof code === 'number') return code
  const numbers: Record<string, number> = constants.signals
  return 128 + (typeof signal === 'string' ? (numbers[signal] ?? 0) : 0)
}

/** containerd gives no signal, only 128 + its number; and 255, Unknown for what a reboot ended. */
function outcomeOf(exitCode: number, cause: Cause | undefined): { exitCode: number; reason: string } {
  if (cause === 'MachineGone') return { exitCode: 255, reason: 'Unknown' }
  if (cause === 'OOMKilled' && exitCode === 137) return { exitCode, reason: 'OOMKilled' }
  return { exitCode, reason: exitCode === 0 ? 'Completed' : 'Error' }
}

function notStarted(id: string, file: string): ContainerProcess {
  const exited: Terminated = {
    kind: 'terminated',
    exitCode: 128,
    reason: 'StartError',
    message:
      'failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: ' +
      `unable to start container process: error during container init: exec: ${JSON.stringify(file)}: ` +
      'executable file not found in $PATH',
    // A kubelet writes the beginning of time.
    startedAt: '1970-01-01T00:00:00Z',
    finishedAt: timestamp(),
    containerID: id,
  }
  return { id, startedAt: timestamp(), exited: Promise.resolve(exited), signal: () => {}, kill: () => {} }
}

async function endOf(file: string): Promise<string> {
  const text = await readFile(file, 'utf8')
  return text.split('\n').slice(-MESSAGE_LINES).join('\n').slice(-MESSAGE_BYTES)
}
