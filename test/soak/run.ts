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
import { admitWhileListing } from './crowd.ts'
import type { AdmissionReport } from './crowd.ts'
import { bytesPerRun } from './remembered.ts'
import { findingOf, floorOf, mean, meansOf, quantile, trendOf } from './slope.ts'
import type { Finding, Point, Trend } from './slope.ts'

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
  readonly trend: Trend
  /** What may be added an hour and is still called flat. */
  readonly allowed: number
  readonly finding: Finding
}

export interface SoakReport {
  readonly jobs: number
  readonly warmUpMs: number
  readonly bytesPerRun: number
  readonly measures: readonly Measure[]
  /** The 99th percentile of the product's event loop delay in each sample, in milliseconds: median and worst. */
  readonly loopDelayMs: { readonly median: number; readonly worst: number }
  readonly admission: AdmissionReport | undefined
}

const SAMPLE_MS = 5_000

/** Code is compiled, connections are opened, the first runs come and go. */
const WARM_UP_SHARE = 0.3

const MIB = 1024 * 1024

/**
 * V8 lets its young generation grow to three times 64 MiB and shrinks it again as it likes: up and down by 100 MiB of
 * RSS, in which nothing that is kept would be seen.
 */
const SMALL_YOUNG_GENERATION = '--max-semi-space-size=16'

/** Long enough for several collections, and for one span to depend little on the one before. */
const SPAN_MS = 30_000

/** Of a hundred Jobs one that leaves a socket or a timer behind is found. */
const LEAKS_PER_JOB = 0.01

/**
 * For an hour the product remembers the runs whose objects went away, so within the first hour it must grow by what
 * these take. Twice of it is allowed: what is live is measured, and V8 collects old objects only when they have made
 * the heap that much larger.
 */
const GARBAGE = 2

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
    nodeOptions: [SMALL_YOUNG_GENERATION],
  })
  try {
    await replica.whenUp()
    const samples = await churn({ options, driver, replica })
    const admission =
      options.pods > 0
        ? await admitWhileListing({ ...options, controlPlane, prefect: prefect.api, deploymentId, replica })
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
  const bytes = bytesPerRun(options.seed)
  const jobsAnHour = options.jobsPerMinute * 60
  const memory = { unit: 'MiB', allowed: (GARBAGE * jobsAnHour * bytes) / MIB, fold: floorOf }
  const count = { allowed: LEAKS_PER_JOB * jobsAnHour, fold: meansOf }
  const measure = ({ title, unit, allowed, fold }: About, points: readonly Point[]): Measure => {
    const warm = points.filter(([at]) => at >= warmUpMs)
    const trend = trendOf(fold(warm, SPAN_MS))
    const finding = findingOf(trend, allowed)
    return { title, unit, points, mean: mean(warm.map(([, value]) => value)), trend, allowed, finding }
  }
  const series = (name: string, divisor = 1): readonly Point[] =>
    samples.map(({ at, figures }) => [at, sumOf(figures, name) / divisor] as const)
  const delays = samples.map(
    ({ figures }) => sumOf(figures, 'lifeguard_event_loop_delay_seconds', '0.99') * 1_000,
  )
  return {
    jobs: driver.jobsMade(),
    warmUpMs,
    bytesPerRun: bytes,
    measures: [
      measure({ ...memory, title: 'RSS' }, series('process_resident_memory_bytes', MIB)),
      measure({ ...memory, title: 'heap' }, series('nodejs_heap_size_used_bytes', MIB)),
      measure({ ...count, title: 'handles', unit: 'handles' }, series('nodejs_active_handles_total')),
      measure(
        { ...count, title: 'open files', unit: 'files' },
        samples.map(({ at, files }) => [at, files]),
      ),
      measure(
        { ...count, title: 'sockets', unit: 'sockets' },
        samples.map(({ at, sockets }) => [at, sockets]),
      ),
      measure(
        { ...count, title: 'connections to the apiserver', unit: 'connections' },
        series('rest_client_connections'),
      ),
    ],
    loopDelayMs: { median: quantile(delays, 0.5), worst: quantile(delays, 1) },
    admission,
  }
}

interface About extends Pick<Measure, 'title' | 'unit' | 'allowed'> {
  /** Makes one point of those of a span. */
  readonly fold: (points: readonly Point[], spanMs: number) => readonly Point[]
}
