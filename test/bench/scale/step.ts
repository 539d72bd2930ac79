import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { z } from 'zod'
import { startObserver } from '../observers/observers.ts'
import type { Observer, Side } from '../observers/observers.ts'
import { usageOf } from '../observers/usage.ts'
import type { Run, World } from '../observers/world.ts'
import { kill } from './population.ts'

/** What an observer did with so many Jobs. */
export interface Step {
  readonly side: Side
  readonly jobs: number
  /** From its start until it watches and, of what there is already, has asked Prefect all it wants to know. */
  readonly startUpSeconds: number
  readonly startUpRequests: number
  readonly rssMiB: number
  /** Of one core, while nothing happens. */
  readonly restingCpu: number
  readonly burst: Burst
}

export interface Burst {
  readonly deaths: number
  /** From the first death until the last one was answered, or the time was over. */
  readonly seconds: number
  /** What the observer's process used meanwhile, in seconds of a core. */
  readonly cpuSeconds: number
  readonly requests: number
  /** Dead runs that are not Crashed. */
  readonly lost: number
  /** Living runs that are. */
  readonly wrong: number
  /** Seconds since the first death, at which so many had been answered. */
  readonly answered: readonly (readonly [seconds: number, runs: number])[]
}

export interface StepOptions {
  readonly side: Side
  /** All runs whose Jobs are there. */
  readonly runs: readonly Run[]
  /** Those of them that die. */
  readonly dying: readonly Run[]
  readonly progress: (line: string) => void
}

/**
 * How long a start may take, and a burst; whoever is not done then is measured as far as it got. Many times what ours
 * needs on two cores.
 */
const PATIENCE = { atLeastMs: 60_000, perJobMs: 10, perDeathMs: 200 } as const

const LOOK_MS = 100
const QUIET_MS = 3_000
const REST_MS = 8_000

/** After the start, for what it had to build to be collected. */
const SETTLE_MS = 5_000

/** Starts an observer on what there is, lets it rest, and then lets some of the runs die all at once. */
export async function measureStep(world: World, options: StepOptions): Promise<Step> {
  const { side, runs, progress } = options
  const jobs = runs.length
  const namespace = runs[0]?.namespace ?? ''
  progress(`${side}, ${jobs} Jobs: starting`)
  const began = Date.now()
  await using observer = await startObserver(side, world, { namespace, env: UNLIMITED })
  const deadline = began + PATIENCE.atLeastMs + jobs * PATIENCE.perJobMs
  const startUpSeconds = ((await whenQuiet(observer, deadline)) - began) / 1_000
  const startUpRequests = requestsTo(observer)
  await sleep(SETTLE_MS)
  const before = await usageOf(observer.pid)
  await sleep(REST_MS)
  const { rssMiB, cpuSeconds } = await usageOf(observer.pid)
  const restingCpu = (cpuSeconds - before.cpuSeconds) / (REST_MS / 1_000)
  progress(`${side}, ${jobs} Jobs: ${options.dying.length} die`)
  const burst = await measureBurst(world, observer, options)
  return { side, jobs, startUpSeconds, startUpRequests, rssMiB, restingCpu, burst }
}

/** Courtesy towards Prefect is not what is measured; the peer has none. */
const UNLIMITED = { LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE: '100000' }

/** When it last asked Prefect, or came up; waits until it asks no more, or for so long. */
async function whenQuiet(observer: Observer, deadline: number): Promise<number> {
  const up = Date.now()
  const lastSign = (): number => Math.max(up, observer.proxy.lastRequestAt())
  while (Date.now() - lastSign() < QUIET_MS && Date.now() < deadline) await sleep(LOOK_MS)
  return lastSign()
}

const requestsTo = ({ proxy }: Observer): number =>
  [...proxy.counts().values()].reduce((sum, count) => sum + count, proxy.messages())

async function measureBurst(world: World, observer: Observer, { runs, dying }: StepOptions): Promise<Burst> {
  const { cpuSeconds } = await usageOf(observer.pid)
  const requests = requestsTo(observer)
  const began = Date.now()
  const patienceMs = PATIENCE.atLeastMs + dying.length * PATIENCE.perDeathMs
  const killing = kill(world, dying)
  const answeredAt = (): readonly number[] =>
    dying.flatMap(({ flowRunId }) => observer.proxy.crashedAt(flowRunId) ?? [])
  while (answeredAt().length < dying.length && Date.now() - began < patienceMs) await sleep(LOOK_MS)
  await killing
  const times = answeredAt().toSorted((a, b) => a - b)
  const isOver = times.length === dying.length
  const used = (await usageOf(observer.pid)).cpuSeconds - cpuSeconds
  return {
    deaths: dying.length,
    seconds: ((isOver ? (times.at(-1) ?? began) : Date.now()) - began) / 1_000,
    cpuSeconds: used,
    requests: requestsTo(observer) - requests,
    ...(await judge(world, runs, dying)),
    answered: tenths(times).map(([at, count]) => [(at - began) / 1_000, count]),
  }
}

const TENTHS = 10

/** When each tenth of them had been answered. */
const tenths = (times: readonly number[]): readonly (readonly [at: number, runs: number])[] =>
  Array.from({ length: TENTHS }, (_, tenth) => Math.ceil(((tenth + 1) * times.length) / TENTHS)).flatMap(
    count => {
      const at = times[count - 1]
      return at === undefined ? [] : [[at, count] as const]
    },
  )

/** Names of all runs here begin with it. */
export const PREFIX = 'scale-'

/** Prefect takes at most 200 a page. */
const PAGE = 200

const countSchema = z.number()

/** Every dead run must be Crashed, and nobody else. */
async function judge(
  { prefect: { api } }: World,
  runs: readonly Run[],
  dying: readonly Run[],
): Promise<{ readonly lost: number; readonly wrong: number }> {
  let crashed = 0
  for (let first = 0; first < dying.length; first += PAGE) {
    const ids = dying.slice(first, first + PAGE).map(({ flowRunId }) => flowRunId)
    const found = await api.filterFlowRuns({ flow_runs: { id: { any_: ids } }, limit: PAGE })
    crashed += found.filter(({ state }) => state.type === 'CRASHED').length
  }
  const alive = countSchema.parse(
    await api.send('POST', '/flow_runs/count', {
      flow_runs: { name: { like_: PREFIX }, state: { type: { any_: ['RUNNING'] } } },
    }),
  )
  return { lost: dying.length - crashed, wrong: runs.length - dying.length - alive }
}

const run = promisify(execFile)
const CACHE = join(import.meta.dirname, 'cache-process.ts')
const cacheSchema = z.object({ pods: z.number(), bytes: z.number() })

/** MiB that the labelled pods of a namespace take in memory, as the product keeps them or as they come. */
export async function cacheMiB(
  { controlPlane: { kubeconfig } }: World,
  namespace: string,
  how: 'trimmed' | 'whole',
): Promise<number> {
  const args = ['--expose-gc', CACHE, kubeconfig, namespace, how]
  const { stdout } = await run(process.execPath, args)
  return cacheSchema.parse(JSON.parse(stdout)).bytes / 2 ** 20
}
