import { readdir, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'

/** How often we look for processes that forked while we were killing, and how long the kernel gets to bury the others. */
const ROUNDS = 200
const ROUND_MS = 5

/** Sends a signal to a process group; nothing happens when it is gone. */
export function killGroup(leader: number, signal: NodeJS.Signals): void {
  kill(-leader, signal)
}

/**
 * Kills every process that inherited this `NAME=value` in its environment. It finds those that left their process group
 * or session, as the kernel does when it takes down a container's PID namespace. Only where there is a /proc (Linux);
 * elsewhere nothing happens.
 */
export async function killMarked(marker: string): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    const found = await findMarked(marker)
    if (found.length === 0) return
    for (const pid of found) kill(pid, 'SIGKILL')
    await sleep(ROUND_MS)
  }
}

/** The ids of the live processes that inherited this `NAME=value`. */
export async function findMarked(marker: string): Promise<number[]> {
  const entries = await readdir('/proc').catch(() => [])
  const pids = entries.filter(entry => /^\d+$/.test(entry))
  const marked = await Promise.all(pids.map(pid => isMarked(pid, marker)))
  return pids.filter((_, index) => marked[index]).map(Number)
}

async function isMarked(pid: string, marker: string): Promise<boolean> {
  // A zombie's environment is empty, somebody else's process is unreadable, and one may end at any moment.
  const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '')
  return `\0${environment}`.includes(`\0${marker}\0`)
}

/** Whether a process runs: one that has ended and that nobody has asked about (a zombie) does not. Linux only. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  // The name, in parentheses, may hold anything; the state is the letter after it.
  const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3)
  return state !== '' && state !== 'Z' && state !== 'X'
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if (!isGone(error)) throw error
  }
}

const isGone = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ESRCH'
