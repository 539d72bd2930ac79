import { setTimeout as sleep } from 'node:timers/promises'
import { request } from 'undici'
import { parseFigures, sumOf } from '../chaos/figures.ts'
import type { Figures } from '../chaos/figures.ts'
import { startStatusNode } from '../chaos/node.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { startLifeguard } from '../cluster/lifeguard.ts'
import type { Lifeguard } from '../cluster/lifeguard.ts'
import { waitFor } from '../cluster/prefect/api.ts'
import type { Prefect } from '../cluster/prefect.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { createCast } from './cast.ts'
import type { Cast } from './cast.ts'
import { judge } from './judge.ts'

export interface OutageOptions {
  readonly deaths: number
  /** From the server's SIGKILL until it is started over, in milliseconds. */
  readonly downMs: number
  readonly log: (line: string) => void
}

export interface OutageReport {
  /** What is not right with runs that died, one line each. */
  readonly complaints: readonly string[]
  /** Requests of the product that met nobody, from the server's end until it was back. */
  readonly unanswered: number
  /** Requests of the product by operation, for everything: all runs' arrivals and their deaths. */
  readonly requests: Readonly<Record<string, number>>
  readonly admission: {
    /** Calls of our webhooks that failed or came too late, as the API server counts them. */
    readonly failed: number
    /** Reviews that found no answer from Prefect and let the object pass; what is then labelled afterwards. */
    readonly passed: number
    /** Jobs made during the outage whose parent was known by then: made, and labelled at once. */
    readonly fromMemory: readonly [made: number, labelled: number]
    /** Jobs made during the outage whose parent nobody had asked for: made, and labelled when it was over. */
    readonly unknown: readonly [made: number, labelledAfterwards: number]
  }
}

/** Runs that do not die: as many whose parent is known when the server goes away, as many whose parent is not. */
const BYSTANDERS = 10

/** Half of the deaths come while the server is down, a quarter before and after. */
const DOWN_FROM = 1 / 4
const DOWN_SHARE = 1 / 2

/** The whole backlog, on a busy machine. */
const SETTLED_MS = 180_000

/** More than twice what 200 deaths need at the default rate: their number is judged here, not their pace. */
const REQUESTS_PER_MINUTE = '6000'

interface Stage {
  readonly options: OutageOptions
  readonly controlPlane: ControlPlane
  readonly prefect: Prefect
  readonly lifeguard: Lifeguard
  readonly cast: Cast
}

/**
 * Prefect's server is killed in the middle of many deaths, and comes back. Real: the control plane, whose Job
 * controller says who has failed, the server, and the product as a process of its own. Played: pods, by the statuses
 * that a kubelet would write.
 */
export async function runOutage(options: OutageOptions): Promise<OutageReport> {
  // The node has no heartbeat: nobody is to miss it.
  await using controlPlane = await startControlPlane({ nodeMonitorGraceSeconds: 36_000 })
  await using prefect = await startPrefect({ services: false })
  const { kubeconfig, api } = controlPlane
  const cast = await createCast(api, prefect.api)
  await using stack = new AsyncDisposableStack()
  const node = await startStatusNode({ api, play: cast.play })
  stack.defer(node.stop)
  await using lifeguard = await startLifeguard({
    kubeconfig,
    apiUrl: prefect.apiUrl,
    failureState: 'crashed',
    env: { LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE: REQUESTS_PER_MINUTE },
  })
  return await play({ options, controlPlane, prefect, lifeguard, cast })
}

async function play({ options, controlPlane, prefect, lifeguard, cast }: Stage): Promise<OutageReport> {
  const { deaths, downMs, log } = options
  log(`${deaths} runs arrive`)
  const runs = await cast.startRuns(deaths)
  const known = await cast.makeBystanders(BYSTANDERS)
  const unknown = await cast.createRuns(BYSTANDERS)
  const pauseMs = downMs / (deaths * DOWN_SHARE)
  const dying = dieOneByOne(runs, pauseMs)
  await dying.reached(deaths * DOWN_FROM)
  log('the server is killed')
  await prefect.stopServer('SIGKILL')
  const fromMemory = await cast.makeBystandersOf(known)
  const passed = await cast.makeBystandersOf(unknown)
  await dying.reached(deaths * (DOWN_FROM + DOWN_SHARE))
  log('the server is started over')
  await prefect.startServer()
  await dying.reached(deaths)
  log('all are dead; waiting until all is told')
  await waitFor('all to have ended', async () => ((await cast.unended(runs)) === 0 ? true : undefined), {
    timeoutMs: SETTLED_MS,
    pollMs: 1_000,
  })
  const complaints = await judge(runs, prefect.api)
  const labelledAfterwards = await cast.whenLabelled(passed)
  const figures = await figuresOf(lifeguard)
  return {
    complaints,
    unanswered: sumOf(figures, REQUESTS, 'status="unreachable"'),
    requests: requestsByOperation(figures),
    admission: {
      failed: await failedCalls(controlPlane),
      passed: ['lookup_failed', 'lookup_late'].reduce(
        (sum, outcome) => sum + sumOf(figures, 'lifeguard_admission_outcomes_total', `outcome="${outcome}"`),
        0,
      ),
      fromMemory: [fromMemory.length, fromMemory.filter(({ isLabelled }) => isLabelled).length],
      unknown: [passed.length, labelledAfterwards],
    },
  }
}

interface Dying {
  /** Resolves when so many have died. */
  readonly reached: (count: number) => Promise<void>
}

function dieOneByOne(runs: readonly { readonly die: () => void }[], pauseMs: number): Dying {
  let dead = 0
  const all = async (): Promise<void> => {
    for (const run of runs) {
      run.die()
      dead += 1
      await sleep(pauseMs)
    }
  }
  const dying = all()
  return {
    reached: async count => {
      while (dead < Math.min(count, runs.length)) await sleep(Math.min(pauseMs, 20))
      if (count >= runs.length) await dying
    },
  }
}

const REQUESTS = 'lifeguard_prefect_requests_total'

async function figuresOf({ operations }: Lifeguard): Promise<Figures> {
  const { body } = await request(`${operations}/metrics`)
  return parseFigures(await body.text())
}

function requestsByOperation(figures: Figures): Readonly<Record<string, number>> {
  const names = [...figures.keys()]
    .filter(series => series.startsWith(`${REQUESTS}{`))
    .map(series => /operation="(\w+)"/.exec(series)?.[1] ?? '')
  return Object.fromEntries(
    [...new Set(names)].map(name => [name, sumOf(figures, REQUESTS, `operation="${name}"`)]),
  )
}

/** What the API server let pass because our webhook did not answer in time. */
async function failedCalls({ api }: ControlPlane): Promise<number> {
  const figures = parseFigures(await api.text('/metrics'))
  return sumOf(figures, 'apiserver_admission_webhook_fail_open_count', 'prefect-lifeguard')
}
