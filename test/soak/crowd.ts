import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { sumOf } from '../chaos/figures.ts'
import type { Figures } from '../chaos/figures.ts'
import type { Replica } from '../chaos/replica.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'
import type { PrefectApi } from '../cluster/prefect/api.ts'
import { pods } from '../cluster/resources.ts'
import { startAdmissionLoad } from './admission-load.ts'
import { quantile } from './slope.ts'

export interface CrowdOptions {
  readonly controlPlane: ControlPlane
  readonly prefect: PrefectApi
  readonly deploymentId: string
  readonly replica: Replica
  /** How many pods there are to be listed. */
  readonly pods: number
  readonly log: (line: string) => void
}

/** How long admission took, and its event loop was held, in one situation. */
export interface Scene {
  readonly title: string
  /** Milliseconds from request to answer, through TLS, for a pod whose run is known. */
  readonly latency: Latency
  /** The longest delay of the product's event loop, in milliseconds. */
  readonly loopDelayMs: number
}

export interface Latency {
  readonly calls: number
  readonly p50: number
  readonly p99: number
  readonly most: number
}

export interface AdmissionReport {
  readonly pods: number
  readonly scenes: readonly Scene[]
  /** Calls that brought no patch. */
  readonly failures: number
}

/** Pods of a run: a crowd of runs would have the observer ask about each, which is not what is measured. */
const PODS_OF_A_RUN = 100
const CREATE_AT_ONCE = 20
const WARM_UP_MS = 5_000
const QUIET_MS = 15_000
const LIST_MS = 120_000
const POLL_MS = 250

/** Watches of pods: those with the parent's label, and those without. Both list. */
const WATCHES_OF_PODS = 2

/**
 * Measures admission while nothing else happens; while history is taken away (410), so that the process that serves
 * lists every pod anew; and in a new process, whose first lists these are.
 */
export async function admitWhileListing(options: CrowdOptions): Promise<AdmissionReport> {
  const { controlPlane, replica, log } = options
  log(`making ${options.pods} pods`)
  await makePods(controlPlane, options.pods)
  const { flowRunId } = await options.prefect.createSubflowRun({
    deploymentId: options.deploymentId,
    states: ['PENDING', 'RUNNING'],
  })
  const results = [
    await scene('nothing else happens', replica, { flowRunId, during: () => sleep(QUIET_MS) }),
    await scene('they are listed anew after a 410', replica, {
      flowRunId,
      during: async look => {
        const before = relists(await replica.figures())
        await controlPlane.compactEtcd()
        await controlPlane.stopApiserver()
        await controlPlane.startApiserver()
        await look(figures => relists(figures) >= before + WATCHES_OF_PODS)
      },
    }),
    await scene('a new process lists them', replica, {
      flowRunId,
      begin: async () => {
        await replica.restart()
        while (replica.admission() === undefined) await sleep(POLL_MS)
      },
      during: look => look(figures => relists(figures) >= WATCHES_OF_PODS),
    }),
  ]
  return {
    pods: options.pods,
    scenes: results,
    failures: results.reduce((total, { failures }) => total + failures, 0),
  }
}

type Look = (until: (figures: Figures) => boolean) => Promise<void>

interface Staging {
  readonly flowRunId: string
  readonly begin?: () => Promise<void>
  readonly during: (look: Look) => Promise<unknown>
}

async function scene(
  title: string,
  replica: Replica,
  { flowRunId, begin, during }: Staging,
): Promise<Scene & { readonly failures: number }> {
  await begin?.()
  const load = startAdmissionLoad(`https://127.0.0.1:${replica.admission() ?? 0}`, flowRunId)
  // The run has to be known, and code compiled; of a new process that is what is measured.
  if (!begin) await sleep(WARM_UP_MS)
  load.take()
  // What was before does not count.
  await replica.figures()
  let loopDelayMs = 0
  const look: Look = async until => {
    const deadline = Date.now() + LIST_MS
    while (Date.now() < deadline) {
      await sleep(POLL_MS)
      const figures = await replica.figures()
      loopDelayMs = Math.max(loopDelayMs, longestDelay(figures))
      if (figures && until(figures)) return
    }
    throw new Error(`the pods were not listed within ${LIST_MS / 1_000} s`)
  }
  await during(look)
  const latency = latencyOf(load.take())
  loopDelayMs = Math.max(loopDelayMs, longestDelay(await replica.figures()))
  await load.stop()
  return { title, latency, loopDelayMs, failures: load.failures() }
}

/** Since the last time it was asked: each reading begins anew. */
const longestDelay = (figures: Figures | undefined): number =>
  sumOf(figures ?? new Map(), 'lifeguard_event_loop_delay_seconds', '"1"') * 1_000

const relists = (figures: Figures | undefined): number =>
  sumOf(figures ?? new Map(), 'lifeguard_watch_relists_total', 'resource="pods"')

const latencyOf = (calls: readonly number[]): Latency => ({
  calls: calls.length,
  p50: quantile(calls, 0.5),
  p99: quantile(calls, 0.99),
  most: quantile(calls, 1),
})

/** As large as those of Prefect's worker, whose environment is most of them. */
const ENVIRONMENT = Array.from({ length: 25 }, (_, number) => ({
  name: `PREFECT_VARIABLE_${number}`,
  value: 'of about this length, as an address or a key has it, '.repeat(2),
}))

/** Labelled as admission labels them, and of a scheduler that there is not: they only are there. */
async function makePods({ api }: ControlPlane, count: number): Promise<void> {
  let made = 0
  let flowRunId = randomUUID()
  const make = async (): Promise<void> => {
    while (made < count) {
      const number = made
      made += 1
      if (number % PODS_OF_A_RUN === 0) flowRunId = randomUUID()
      const labels = { 'prefect.io/flow-run-id': flowRunId, 'prefect.io/parent-task-run-id': randomUUID() }
      await api.create(pods, {
        metadata: { name: `crowd-${number}`, labels },
        spec: {
          schedulerName: 'nobody',
          containers: [{ name: 'prefect-job', image: 'none', env: ENVIRONMENT }],
        },
      })
    }
  }
  await Promise.all(Array.from({ length: CREATE_AT_ONCE }, make))
}
