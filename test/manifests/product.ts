import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { createGuard } from '../cluster/guard.ts'
import { killGroup } from '../cluster/kill.ts'

const ROOT = new URL('../../', import.meta.url)

export interface Product {
  readonly pid: number
  /** What it has logged so far. */
  readonly log: () => readonly string[]
  /** Its exit code; null after a signal. */
  readonly exited: Promise<number | null>
  /** SIGTERM; resolves with its exit code. */
  readonly stop: () => Promise<number | null>
  /** For a test that has failed. */
  readonly kill: () => Promise<void>
}

/** `prefect-lifeguard serve`, as the image runs it, with this environment alone. It ends with this process. */
export async function startServe(env: Readonly<Record<string, string>>): Promise<Product> {
  const guard = await createGuard()
  const child = spawn(process.execPath, ['src/main.ts', 'serve'], {
    cwd: ROOT,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], ...env },
  })
  await once(child, 'spawn')
  const pid = child.pid ?? 0
  guard.afterDeath({ kind: 'group', pid })
  const exited = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null)
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', line => lines.push(line))
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    if (child.exitCode === null && child.signalCode === null) killGroup(pid, signal)
    const code = await exited
    await guard.close()
    return code
  }
  return {
    pid,
    log: () => lines,
    exited,
    stop: () => end('SIGTERM'),
    kill: async () => {
      await end('SIGKILL')
    },
  }
}
