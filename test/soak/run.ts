import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createDriver } from '../chaos/driver.ts'
import type { Driver } from '../chaos/driver.ts'
import { sumOf } from '../chaos/figures.ts'
import type { Figures } from '../chaos/figures.ts'
import { lifeOf } from '../chaos/lives.ts'
import type { Life } from '../chaos/lives.ts'
import { startStatusNode } from '../chaos/node.ts'
import { createChance } from '../chaos/random.ts'
import { startReplica } from '../chaos/replica.ts'
import type { Replica } from '../chaos/replica.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import type { Prefect } from '../cluster/prefect.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { pods } from '../cluster/resources.ts'
import { startAdmissionLoad } from './admission-load.ts'
import { floorOf, mean, quantile, slopePerHour } from './slope.ts'
import type { Point } from './slope.ts'

export interface SoakOptions {
  readonly durationMs: number
  readonly seed: number
  readonly jobsPerMinute: number
  /** How many pods are listed while admission is measured; 0 leaves that out. */
  readonly pods: number
  readonly log: (line: string) => void
}

export interface Measure {
  readonly title: string
  readonly unit: string
  readonly points: readonly Point[]
  readonly mean: number
  readonly slope: number
  readonly tolerance: number
}

export interface SoakReport {
  readonly jobs: number
  readonly warmUpMs: number
  readonly measures: readonly Measure[]
  /** The 99th percentile of the product's event loop delay in each sample, in milliseconds: median and worst. */
  readonly loopDelayMs: { readonly median: number; readonly worst: number }
  readonly admission: AdmissionReport | undefined
}

/** Milliseconds from request to answer, through TLS, with the run known. */
export interface AdmissionReport {
  readonly pods: number
  readonly quiet: Latency
  /** From the moment that the apiserver is gone until it is back and every pod has been listed. */
  readonly listing: Latency
  /** The longest delay of the product's event loop meanwhile. */
  readonly loopDelayMs: number
  readonly failures: number
}

interface Latency {
  readonly calls: number
  readonly p50: number
  readonly p99: number
  readonly most: number
}

const SAMPLE_MS = 5_000

/** Code is compiled, connections are opened, the first runs come and go. */
const WARM_UP_SHARE = 0.3

const MIB = 1024 * 1024

/** Long enough for several collections. */
const FLOOR_MS = 30_000

/**
 * What may grow an hour and still be called flat. What is remembered of the dead is bounded, but fills for the first
 * hour: a few KiB a run, for up to 50,000 runs. Connections and files may not grow: one that leaks at each Job would
 * make hundreds.
 */
const KIB_PER_RUN = 6
const SLACK_MIB = 12
const SLACK_FILES = 12

export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const folder = await mkdtemp(join(tmpdir(), 'soak-'))
  const stop = new AbortController()
  await using controlPlane = await startControlPlane({ jobBackOff: '1s', nodeMonitorGraceSeconds: 36_000 })
  // As in the chaos: fewer writes are turned away by sqlite.
  await using prefect = await startPrefect({ services: false })
  await prefect.api.createWorkPool('soak', {})
  const deploymentId = await prefect.api.createDeployment({ name: 'soak', flow: 'soak', workPool: 'soak' })
  const driver = await createDriver({
    api: controlPlane.api,
    prefect: prefect.api,
    deploymentId,
    signal: stop.signal,
  })
  const node = await startStatusNode({ api: controlPlane.api, play: driver.play })
  const replica = await startReplica({
    name: 'soak',
    env: environmentOf(controlPlane, prefect),
    logFile: join(folder, 'log'),
  })
  try {
    await replica.whenUp()
    const samples = await churn({ options, driver, replica })
    const admission =
      options.pods > 0
        ? await listWhileAdmitting({ options, controlPlane, prefect, deploymentId, replica })
        : undefined
    return reportOf(samples, { options, driver, admission })
  } finally {
    stop.abort(new Error('the soak is over'))
    await replica.stop()
    await node.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

const environmentOf = ({ kubeconfig }: ControlPlane, { apiUrl }: Prefect): NodeJS.ProcessEnv => ({
  PATH: process.env['PATH'],
  HOME: process.env['HOME'],
  KUBECONFIG: kubeconfig,
  PREFECT_API_URL: apiUrl,
  PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_HANDLE_SUBFLOW_FAILURE_STATE: 'crashed',
  LIFEGUARD_GRACES: 'exited_without_reporting=10s',
  LIFEGUARD_HOST: '127.0.0.1',
  LIFEGUARD_ADMISSION_PORT: '0',
  LIFEGUARD_OPERATIONS_PORT: '0',
  LIFEGUARD_LOG_FORMAT: 'json',
})

interface Sample {
  readonly at: number
  readonly figures: Figures
  readonly files: number
  readonly sockets: number
}

/** Runs come and go, and their Jobs are cleared away, so that the cluster stays as large as it is. */
async function churn({
  options,
  driver,
  replica,
}: {
  options: SoakOptions
  driver: Driver
  replica: Replica
}): Promise<readonly Sample[]> {
  const { durationMs, seed, jobsPerMinute, log } = options
  const chance = createChance(seed, 3)
  const samples: Sample[] = []
  const started = Date.now()
  const elapsed = (): number => Date.now() - started
  const state = { number: 0, nextRun: 0 }
  const bring = (): void => {
    const { number } = state
    state.number += 1
    state.nextRun += chance.between(0, 120_000 / jobsPerMinute)
    const life = driver.live(number, clearedAway(lifeOf(seed, number)))
    life.catch((error: unknown) => log(`run ${number}: ${String(error)}`))
  }
  const look = async (): Promise<void> => {
    const sample = await take(replica, elapsed())
    if (sample) samples.push(sample)
    if (samples.length % 12 === 0) log(inWords(sample, driver))
  }
  while (elapsed() < durationMs) {
    if (elapsed() >= state.nextRun) bring()
    if (elapsed() >= samples.length * SAMPLE_MS) await look()
    await sleep(50)
  }
  return samples
}

/** Nobody is blind here; and every Job has gone a minute after its end. */
const clearedAway = (life: Life): Life => ({
  ...life,
  attempts: life.attempts.map(({ deletion, ...attempt }) => {
    const kept = deletion === undefined || deletion === 'unseen' ? {} : { deletion }
    return { ...attempt, ...kept, ...(deletion === 'unseen' && { deletion: 8_000 }), ttlSeconds: 60 }
  }),
})

async function take(replica: Replica, at: number): Promise<Sample | undefined> {
  const pid = replica.pid()
  const figures = await replica.figures()
  if (!figures || pid === undefined) return undefined
  const folder = `/proc/${pid}/fd`
  const files = await readdir(folder)
  const targets = await Promise.all(files.map(file => readlink(join(folder, file)).catch(() => '')))
  return {
    at,
    figures,
    files: files.length,
    sockets: targets.filter(target => target.startsWith('socket:')).length,
  }
}

function inWords(sample: Sample | undefined, driver: Driver): string {
  if (!sample) return 'the product does not answer'
  const { at, figures, sockets } = sample
  const rss = sumOf(figures, 'process_resident_memory_bytes') / MIB
  return `${Math.round(at / 1_000)} s: ${driver.jobsMade()} Jobs, RSS ${rss.toFixed(0)} MiB, ${sockets} sockets`
}

function reportOf(
  samples: readonly Sample[],
  {
    options,
    driver,
    admission,
  }: { options: SoakOptions; driver: Driver; admission: AdmissionReport | undefined },
): SoakReport {
  const warmUpMs = options.durationMs * WARM_UP_SHARE
  const remembered = (options.jobsPerMinute * 60 * KIB_PER_RUN) / 1024
  const measure = (
    about: Pick<Measure, 'title' | 'unit' | 'tolerance'>,
    points: readonly Point[],
  ): Measure => {
    const warm = points.filter(([at]) => at >= warmUpMs)
    return { ...about, points, mean: mean(warm.map(([, value]) => value)), slope: slopePerHour(warm) }
  }
  const series = (name: string, divisor = 1): readonly Point[] =>
    samples.map(({ at, figures }) => [at, sumOf(figures, name) / divisor] as const)
  const memory = { unit: 'MiB', tolerance: remembered + SLACK_MIB }
  const delays = samples.map(
    ({ figures }) => sumOf(figures, 'lifeguard_event_loop_delay_seconds', '0.99') * 1_000,
  )
  return {
    jobs: driver.jobsMade(),
    warmUpMs,
    measures: [
      measure(
        { ...memory, title: 'RSS, lowest of each half minute' },
        floorOf(series('process_resident_memory_bytes', MIB), FLOOR_MS),
      ),
      measure(
        { ...memory, title: 'heap after collection' },
        floorOf(series('nodejs_heap_size_used_bytes', MIB), FLOOR_MS),
      ),
      measure({ ...counted('handles'), title: 'handles' }, series('nodejs_active_handles_total')),
      measure(
        { ...counted('files'), title: 'open files' },
        samples.map(({ at, files }) => [at, files]),
      ),
      measure(
        { ...counted('sockets'), title: 'sockets' },
        samples.map(({ at, sockets }) => [at, sockets]),
      ),
      measure(
        { ...counted('connections'), title: 'connections to the apiserver' },
        series('rest_client_connections'),
      ),
    ],
    loopDelayMs: { median: quantile(delays, 0.5), worst: quantile(delays, 1) },
    admission,
  }
}

const counted = (unit: string) => ({ unit, tolerance: SLACK_FILES })

interface Crowd {
  readonly options: SoakOptions
  readonly controlPlane: ControlPlane
  readonly prefect: Prefect
  readonly deploymentId: string
  readonly replica: Replica
}

/** Pods of a run: a crowd of runs would have the observer ask about each, which is not what is measured. */
const PODS_OF_A_RUN = 100
const CREATE_AT_ONCE = 20
const QUIET_MS = 15_000
const LIST_MS = 90_000
const POLL_MS = 250

/** Admission is measured, then history is taken away (410), and it is measured while every pod is listed anew. */
async function listWhileAdmitting({
  options,
  controlPlane,
  prefect,
  deploymentId,
  replica,
}: Crowd): Promise<AdmissionReport> {
  options.log(`making ${options.pods} pods`)
  await makePods(controlPlane, options.pods)
  const { flowRunId } = await prefect.api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
  const load = startAdmissionLoad(`https://127.0.0.1:${replica.admission() ?? 0}`, flowRunId)
  await sleep(5_000)
  load.take()
  await sleep(QUIET_MS)
  const quiet = latencyOf(load.take())
  const before = relists(await replica.figures())
  await controlPlane.compactEtcd()
  await controlPlane.stopApiserver()
  load.take()
  await controlPlane.startApiserver()
  const deadline = Date.now() + LIST_MS
  let loopDelayMs = 0
  let hasListed = false
  while (!hasListed && Date.now() < deadline) {
    await sleep(POLL_MS)
    const figures = await replica.figures()
    hasListed = relists(figures) > before
    // Of the time since the last look: reading it begins anew.
    loopDelayMs = Math.max(
      loopDelayMs,
      sumOf(figures ?? new Map(), 'lifeguard_event_loop_delay_seconds', '"1"') * 1_000,
    )
  }
  const listing = latencyOf(load.take())
  await load.stop()
  if (!hasListed) throw new Error(`the pods were not listed anew within ${LIST_MS / 1_000} s`)
  return { pods: options.pods, quiet, listing, loopDelayMs, failures: load.failures() }
}

const relists = (figures: Figures | undefined): number =>
  sumOf(figures ?? new Map(), 'lifeguard_watch_relists_total', 'resource="pods"')

const latencyOf = (calls: readonly number[]): Latency => ({
  calls: calls.length,
  p50: quantile(calls, 0.5),
  p99: quantile(calls, 0.99),
  most: quantile(calls, 1),
})

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
        spec: { schedulerName: 'nobody', containers: [{ name: 'prefect-job', image: 'none' }] },
      })
    }
  }
  await Promise.all(Array.from({ length: CREATE_AT_ONCE }, make))
}
