import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { createGuard } from './guard.ts'
import { killGroup } from './kill.ts'

/** A line of the product's log. */
const logLine = z.looseObject({ time: z.string(), level: z.number(), msg: z.string().default('') })
export type LogLine = z.infer<typeof logLine>

export interface LifeguardOptions {
  readonly kubeconfig: string
  readonly apiUrl: string
  /** What happens to dead runs: `crashed`, `failed`, or nothing but reports where absent. */
  readonly failureState?: 'crashed' | 'failed'
  /** Settings, as variables. */
  readonly env?: NodeJS.ProcessEnv
}

/** The product as its own process, against a cluster, its webhooks registered. */
export interface Lifeguard extends AsyncDisposable {
  readonly pid: number
  /** Everything it has logged so far. */
  readonly lines: () => readonly LogLine[]
  /** Waits for a line; those that have come already count. */
  readonly waitForLine: (
    what: string,
    isIt: (line: LogLine) => boolean,
    timeoutMs?: number,
  ) => Promise<LogLine>
  /** `http://host:port` of /metrics and the like. */
  readonly operations: string
  /** SIGTERM and what it entails, or an end without a good-bye. Resolves with the exit code, null after a signal. */
  readonly stop: (signal?: 'SIGTERM' | 'SIGKILL') => Promise<number | null>
}

const MAIN = join(import.meta.dirname, '../../src/main.ts')

/** Far above the usual second: a machine with two cores may be starting three Pythons meanwhile. */
const START_MS = 60_000

const POLL_MS = 20

/**
 * Starts `npm run dev`'s process and resolves when its webhooks are registered and it leads. It ends with this
 * process, however that ends.
 *
 * @throws with its last lines where it does not come up.
 */
export async function startLifeguard(options: LifeguardOptions): Promise<Lifeguard> {
  const guard = await createGuard()
  const child = spawn(process.execPath, [MAIN, 'dev'], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: environmentOf(options),
  })
  await once(child, 'spawn')
  const pid = child.pid ?? 0
  guard.afterDeath({ kind: 'group', pid })
  const exited = once(child, 'exit').then(([code]: (number | null)[]) => code ?? null)
  const lines: LogLine[] = []
  const other: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', text => {
      const line = parseLine(text)
      if (line) lines.push(line)
      else other.push(text)
    })
  const waitForLine: Lifeguard['waitForLine'] = async (what, isIt, timeoutMs = START_MS) => {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const found = lines.find(isIt)
      if (found) return found
      const hasEnded = child.exitCode !== null || child.signalCode !== null
      if (hasEnded || Date.now() > deadline) {
        const last = [...lines.slice(-10).map(line => JSON.stringify(line)), ...other.slice(-20)].join('\n')
        throw new Error(
          `prefect-lifeguard ${hasEnded ? 'ended' : 'took too long'} before ${what}; its last lines:\n${last}`,
        )
      }
      await sleep(POLL_MS)
    }
  }
  const stop: Lifeguard['stop'] = async (signal = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) killGroup(pid, signal)
    const code = await exited
    await guard.close()
    return code
  }
  try {
    const listening = await waitForLine('it listened', ({ msg }) => msg === 'listening')
    await waitForLine('its webhooks were registered', ({ msg }) => msg.startsWith('registered the webhooks'))
    await waitForLine('it led', ({ msg }) => msg === 'leading: looking at every run')
    return {
      pid,
      lines: () => lines,
      waitForLine,
      operations: `http://127.0.0.1:${String(listening['operations'])}`,
      stop,
      [Symbol.asyncDispose]: async () => {
        await stop()
      },
    }
  } catch (error) {
    await stop('SIGKILL')
    throw error
  }
}

const environmentOf = ({ kubeconfig, apiUrl, failureState, env }: LifeguardOptions): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: process.env['HOME'],
  KUBECONFIG: kubeconfig,
  PREFECT_API_URL: apiUrl,
  ...(failureState && {
    PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_HANDLE_SUBFLOW_FAILURE_STATE: failureState,
  }),
  LIFEGUARD_HOST: '127.0.0.1',
  LIFEGUARD_ADMISSION_PORT: '0',
  LIFEGUARD_OPERATIONS_PORT: '0',
  LIFEGUARD_LOG_FORMAT: 'json',
  LIFEGUARD_LOG_LEVEL: 'debug',
  ...env,
})

function parseLine(text: string): LogLine | undefined {
  try {
    return logLine.safeParse(JSON.parse(text)).data
  } catch {
    return undefined
  }
}
