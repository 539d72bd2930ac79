import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { z } from 'zod'
import { createGuard } from '../cluster/guard.ts'
import { killGroup } from '../cluster/kill.ts'
import { parseFigures } from './figures.ts'
import type { Figures } from './figures.ts'

export interface ReplicaOptions {
  readonly name: string
  readonly env: NodeJS.ProcessEnv
  /** Everything it logs goes here, over all its lives. */
  readonly logFile: string
  readonly nodeOptions?: readonly string[]
}

/** One of the product's processes, started again whenever it ends, as a kubelet does. */
export interface Replica {
  readonly name: string
  readonly pid: () => number | undefined
  /** Port of admission; undefined until it listens. */
  readonly admission: () => number | undefined
  readonly isLeading: () => boolean
  /** Resolves when a process listens. */
  readonly whenUp: () => Promise<void>
  /** `kill -9`, and nothing until this is over. */
  readonly kill: (until: () => Promise<unknown>) => Promise<void>
  /** SIGTERM; it is started again when it has ended. */
  readonly restart: () => Promise<void>
  readonly freeze: (forMs: number) => Promise<void>
  /** Its machine's wall clock is off by so much from now on, for later processes, too. */
  readonly setClock: (offsetMs: number) => void
  /** What /metrics says; undefined where it does not answer. */
  readonly figures: () => Promise<Figures | undefined>
  /** How often a process has ended that nobody killed. */
  readonly falls: () => number
  readonly stop: () => Promise<void>
}

const MAIN = join(import.meta.dirname, '../../src/main.ts')
const CLOCK = join(import.meta.dirname, 'clock.ts')

/** A kubelet waits 10 s and more; a crash loop is not what is tested here. */
const BACK_OFF_MS = 1_000

const ANSWER_MS = 2_000

/** It gives the lease back and lets the API server go; beyond this it hangs, and a kubelet would kill it. */
const TERMINATION_MS = 30_000

interface Life {
  readonly child: ChildProcess
  readonly ended: Promise<unknown>
  admission: number | undefined
  operations: string | undefined
  isLeading: boolean
}

/** Starts a replica; resolves when its process exists. It ends with this process, however that ends. */
export async function startReplica({
  name,
  env,
  logFile,
  nodeOptions = [],
}: ReplicaOptions): Promise<Replica> {
  const guard = await createGuard()
  const log = createWriteStream(logFile, { flags: 'a' })
  const state = {
    current: undefined as Life | undefined,
    isWanted: true,
    isMeant: false,
    clockOffsetMs: 0,
    falls: 0,
    hold: Promise.resolve() as Promise<unknown>,
  }

  const start = async (): Promise<Life> => {
    const child = spawn(process.execPath, [...nodeOptions, '--import', CLOCK, MAIN, 'dev'], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...env, CHAOS_CLOCK_OFFSET_MS: String(state.clockOffsetMs) },
    })
    await once(child, 'spawn')
    const forget = guard.afterDeath({ kind: 'group', pid: child.pid ?? 0 })
    const ended = once(child, 'exit').finally(forget)
    const life: Life = { child, ended, admission: undefined, operations: undefined, isLeading: false }
    log.write(
      `${JSON.stringify({ time: new Date().toISOString(), msg: `--- ${name} is process ${child.pid}` })}\n`,
    )
    for (const stream of [child.stdout, child.stderr])
      if (stream)
        createInterface({ input: stream }).on('line', line => {
          log.write(`${line}\n`)
          listen(life, line)
        })
    return life
  }
  const supervise = async (): Promise<void> => {
    while (state.isWanted) {
      state.isMeant = false
      state.current = await start()
      await state.current.ended
      state.current = undefined
      if (!state.isMeant) {
        state.falls += 1
        await sleep(BACK_OFF_MS)
      }
      await state.hold
    }
  }
  const supervised = supervise()
  const end = (signal: NodeJS.Signals): Life | undefined => {
    const life = state.current
    if (!life) return undefined
    state.isMeant = true
    killGroup(life.child.pid ?? 0, signal)
    return life
  }
  const whenUp = async (): Promise<void> => {
    while (state.isWanted && state.current?.operations === undefined) await sleep(50)
  }
  return {
    name,
    pid: () => state.current?.child.pid,
    admission: () => state.current?.admission,
    isLeading: () => state.current?.isLeading ?? false,
    whenUp,
    kill: async until => {
      const over = Promise.withResolvers<void>()
      state.hold = over.promise
      try {
        await end('SIGKILL')?.ended
        await until()
      } finally {
        over.resolve()
      }
    },
    restart: async () => {
      const life = end('SIGTERM')
      const timer = setTimeout(() => {
        if (state.current === life) end('SIGKILL')
      }, TERMINATION_MS)
      await life?.ended
      clearTimeout(timer)
    },
    freeze: async forMs => {
      const pid = state.current?.child.pid ?? 0
      if (pid === 0) return
      killGroup(pid, 'SIGSTOP')
      await sleep(forMs)
      killGroup(pid, 'SIGCONT')
    },
    setClock: offsetMs => {
      state.clockOffsetMs = offsetMs
      const child = state.current?.child
      if (child?.connected === true) child.send(offsetMs, () => {})
    },
    figures: async () => {
      const operations = state.current?.operations
      if (operations === undefined) return undefined
      try {
        const signal = AbortSignal.timeout(ANSWER_MS)
        const { body } = await request(`${operations}/metrics`, { signal })
        return parseFigures(await body.text())
      } catch {
        return undefined
      }
    },
    falls: () => state.falls,
    stop: async () => {
      state.isWanted = false
      end('SIGKILL')
      await supervised
      log.end()
      await guard.close()
    },
  }
}

const LISTENING = z.object({ admission: z.number(), operations: z.number() })

/** What its log says of its ports and its leadership. */
function listen(life: Life, text: string): void {
  if (!text.startsWith('{')) return
  if (text.includes('"msg":"listening"')) {
    const { admission, operations } = LISTENING.parse(JSON.parse(text))
    life.admission = admission
    life.operations = `http://127.0.0.1:${operations}`
  }
  if (text.includes('"msg":"leading: waiting for the watches"')) life.isLeading = true
  if (text.includes('"msg":"stopped leading; admission goes on"')) life.isLeading = false
}
