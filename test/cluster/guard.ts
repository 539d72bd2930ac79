import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** What has to go when this process is gone, however it went. */
export type Leftover =
  /** A process group, by the id of its leader. */
  | { readonly kind: 'group'; readonly pid: number }
  /** Every process whose environment holds this `NAME=value`: containers' processes, wherever they put themselves. */
  | { readonly kind: 'marked'; readonly marker: string }
  | { readonly kind: 'folder'; readonly path: string }

/** A line from us to the guard: one more to clear away, or one less. */
export type GuardMessage =
  | { readonly id: number; readonly leftover: Leftover }
  | { readonly id: number; readonly leftover?: undefined }

export interface Guard {
  readonly pid: number
  /** Asks for this to be cleared away when this process is gone. The answer takes it back. */
  readonly afterDeath: (leftover: Leftover) => () => void
  /** Clears away what has not been taken back, and ends the guard. Resolves when all is gone. */
  readonly close: () => Promise<void>
}

/**
 * Starts a small process that outlives this one by a moment and clears up after it: it waits for its standard input to
 * end, which happens on a normal exit, an exception, Ctrl-C and `kill -9` alike. It has a session of its own, so that
 * Ctrl-C does not reach it, and it keeps nobody's event loop alive.
 * @throws if the process cannot be started.
 */
export async function createGuard(): Promise<Guard> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'guard-process.ts')], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
    env: {},
  })
  await once(child, 'spawn')
  child.unref()
  // Writing to a guard that was killed is no reason to fall over.
  child.stdin.on('error', () => {})
  if ('unref' in child.stdin && typeof child.stdin.unref === 'function') child.stdin.unref()
  let lastId = 0
  const tell = (message: GuardMessage): void => {
    child.stdin.write(`${JSON.stringify(message)}\n`)
  }
  return {
    pid: child.pid ?? 0,
    afterDeath: leftover => {
      lastId += 1
      const id = lastId
      tell({ id, leftover })
      return () => tell({ id })
    },
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.ref()
      const exited = once(child, 'exit')
      child.stdin.end()
      await exited
    },
  }
}
