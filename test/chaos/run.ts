import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlPlane } from '../cluster/control-plane.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import type { Prefect } from '../cluster/prefect.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { BEAT_MS, createDriver } from './driver.ts'
import type { Driver } from './driver.ts'
import { sumOf } from './figures.ts'
import type { Figures } from './figures.ts'
import { hasDeath, lifeOf } from './lives.ts'
import { startStatusNode } from './node.ts'
import { judge, unsettled } from './oracle.ts'
import { createChance } from './random.ts'
import { startReplica } from './replica.ts'
import type { Replica } from './replica.ts'
import { faultInWords, REPLICAS, scheduleOf } from './schedule.ts'
import type { ConnectionFault, Fault, ProcessFault, ReplicaName } from './schedule.ts'
import { createWayToApiserver, createWayToPrefect, kubeconfigBy } from './ways.ts'
import type { Way } from './ways.ts'

export interface ChaosOptions {
  readonly seed: number
  /** How long Jobs come and things go wrong; then everything is left to settle. */
  readonly durationMs: number
  readonly jobsPerMinute: number
  readonly log: (line: string) => void
}

export interface ChaosReport {
  readonly jobs: number
  readonly deaths: number
  readonly faults: number
  readonly lost: number
  readonly wrong: number
  /** What is lost or wrong, one line each. */
  readonly complaints: readonly string[]
  /** What the product counted over all its lives. */
  readonly figures: Readonly<Record<string, number>>
  /** How often a process of the product ended by itself. */
  readonly falls: number
  /** From the last fault until every run was what it had to become. */
  readonly settledMs: number
  /** Logs of the replicas; removed where nothing is lost or wrong. */
  readonly folder: string
}

const POOL = 'chaos'

/** Longer than every grace below and the longest back-off of ours, twice. */
const MOST_QUIET_MS = 300_000

/** Runs wait for somebody to be blind; at the end nobody else is waited for longer than this. */
const LAST_BLACKOUT_MS = 10_000

/** Graces are for the field, where minutes do not matter; here they only have to be longer than what they wait for. */
const settingsFor = (schedule: readonly Fault[]): NodeJS.ProcessEnv => ({
  PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_HANDLE_SUBFLOW_FAILURE_STATE: 'crashed',
  LIFEGUARD_WORK_POOLS: POOL,
  LIFEGUARD_ORPHAN_SCAN_INTERVAL: '15s',
  LIFEGUARD_GRACES: `exited_without_reporting=10s,orphan=10s,newer_state=${Math.ceil(silenceIn(schedule) / 1_000)}s,close_call=60s,missing_job=120s`,
  LIFEGUARD_HOST: '127.0.0.1',
  LIFEGUARD_ADMISSION_PORT: '0',
  LIFEGUARD_OPERATIONS_PORT: '0',
  LIFEGUARD_LOG_FORMAT: 'json',
  LIFEGUARD_LOG_LEVEL: 'debug',
})

/** Two heartbeats, and the time that one takes to be stored. */
const HEART_MS = 2 * BEAT_MS + 20_000
/** Prefect's own, on a busy machine. */
const START_MS = 40_000

/** For how long the heart of a flow that lives may seem to stand still: it is not heard while Prefect is down. */
function silenceIn(schedule: readonly Fault[]): number {
  const outages = schedule.map(({ what }) => (what.kind === 'prefectDown' ? what.downMs + START_MS : 0))
  return HEART_MS + Math.max(0, ...outages)
}

/**
 * Heartbeats are events, and have to be stored. Without its other services fewer writes are turned away by sqlite, and
 * nobody calls a run late that waits for its turn.
 */
const ONLY_EVENTS = Object.fromEntries(
  [
    'CANCELLATION_CLEANUP',
    'CLEANUP_RECONCILER',
    'FOREMAN',
    'LATE_RUNS',
    'PAUSE_EXPIRATIONS',
    'REPOSSESSOR',
    'SCHEDULER',
    'TASK_RUN_RECORDER',
    'TRIGGERS',
  ].map(name => [`PREFECT_SERVER_SERVICES_${name}_ENABLED`, 'false']),
)

/** The product's counters that are told at the end, over all lives of all replicas. */
const COUNTERS = [
  'lifeguard_watch_missed_total',
  'lifeguard_watch_reconnects_total',
  'lifeguard_watch_relists_total',
  'lifeguard_watch_failures_total',
  'lifeguard_deaths_total',
  'lifeguard_prefect_writes_total',
  'lifeguard_repairs_total',
  'lifeguard_backfill_total',
  'controller_runtime_reconcile_errors_total',
] as const

/** One replica with its two ways. */
interface Post {
  readonly replica: Replica
  readonly ways: Readonly<Record<ConnectionFault['server'], Way>>
}

interface Stage {
  readonly options: ChaosOptions
  readonly controlPlane: ControlPlane
  readonly prefect: Prefect
  readonly posts: Readonly<Record<ReplicaName, Post>>
  readonly driver: Driver
}

/** Everything real but the pods, two replicas of the product, faults by a seed, and a judge who knows what is right. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const folder = await mkdtemp(join(tmpdir(), `chaos-${options.seed}-`))
  const stop = new AbortController()
  // The node has no heartbeat: nobody is to miss it.
  await using controlPlane = await startControlPlane({ jobBackOff: '1s', nodeMonitorGraceSeconds: 36_000 })
  await using prefect = await startPrefect({ serverEnv: ONLY_EVENTS })
  await prefect.api.createWorkPool(POOL, {})
  const deploymentId = await prefect.api.createDeployment({ name: 'chaos', flow: 'chaos', workPool: POOL })
  const driver = await createDriver({
    api: controlPlane.api,
    prefect: prefect.api,
    deploymentId,
    signal: stop.signal,
  })
  const node = await startStatusNode({ api: controlPlane.api, play: driver.play })
  const posts = {
    a: await startPost('a', { controlPlane, prefect, folder, options }),
    b: await startPost('b', { controlPlane, prefect, folder, options }),
  }
  const stage: Stage = { options, controlPlane, prefect, posts, driver }
  const counted = countAll(Object.values(posts), stop.signal)
  try {
    await Promise.all(REPLICAS.map(name => posts[name].replica.whenUp()))
    const report = await play(stage, folder)
    await counted.sample()
    const figures = Object.fromEntries(COUNTERS.map(name => [name, counted.total(name)]))
    const falls = REPLICAS.reduce((sum, name) => sum + posts[name].replica.falls(), 0)
    if (report.lost + report.wrong === 0) await rm(folder, { recursive: true })
    return { ...report, figures, falls, folder }
  } finally {
    stop.abort(new Error('the chaos run is over'))
    await Promise.all(Object.values(posts).map(({ replica }) => replica.stop()))
    await Promise.all(Object.values(posts).flatMap(({ ways }) => Object.values(ways).map(way => way.close())))
    await node.stop()
  }
}

async function startPost(
  name: ReplicaName,
  {
    controlPlane,
    prefect,
    folder,
    options,
  }: Pick<Stage, 'controlPlane' | 'prefect' | 'options'> & { folder: string },
): Promise<Post> {
  const ways = {
    apiserver: await createWayToApiserver(controlPlane, options.seed),
    prefect: await createWayToPrefect(prefect, options.seed),
  }
  const env = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    ...settingsFor(scheduleOf(options.seed, options.durationMs)),
    LIFEGUARD_IDENTITY: name,
    KUBECONFIG: await kubeconfigBy(controlPlane, ways.apiserver.port, join(folder, `kubeconfig-${name}`)),
    PREFECT_API_URL: `http://127.0.0.1:${ways.prefect.port}/api`,
  }
  return { ways, replica: await startReplica({ name, env, logFile: join(folder, `${name}.log`) }) }
}

async function play(
  stage: Stage,
  folder: string,
): Promise<Omit<ChaosReport, 'figures' | 'falls' | 'folder'>> {
  const { options, driver, prefect } = stage
  const { log, seed, durationMs } = options
  log(`seed ${seed}; logs in ${folder}`)
  const [faults] = await Promise.all([makeTrouble(stage), bringJobs(stage)])
  const quietSince = Date.now()
  log(
    `quiet after ${Math.round(durationMs / 1_000)} s: ${driver.jobsMade()} Jobs, ${faults} faults; waiting for what must still come`,
  )
  let open = await unsettled(driver.runs(), prefect.api)
  while (open.length > 0 && Date.now() - quietSince < MOST_QUIET_MS) {
    await sleep(1_000)
    if (driver.waitingToVanish() > 0 && Date.now() - quietSince > LAST_BLACKOUT_MS)
      await blackout(stage, 5_000)
    open = await unsettled(driver.runs(), prefect.api)
  }
  const settledMs = Date.now() - quietSince
  const complaints: string[] = []
  const counts = { lost: 0, wrong: 0 }
  for (const run of driver.runs()) {
    const { kind, why } = await judge(run, prefect.api)
    if (kind === 'right') continue
    counts[kind] += 1
    complaints.push(`${kind}: ${why}`)
  }
  const deaths = driver.runs().filter(({ life }) => hasDeath(life)).length
  return { jobs: driver.jobsMade(), deaths, faults, ...counts, complaints, settledMs }
}

/** More would only wait for Prefect, and there would be nothing to settle but the backlog when the faults are over. */
const MOST_RUNS_AT_ONCE = 80

/** Runs begin one after the other, at times that the seed tells; later where too many are under way. */
async function bringJobs({ options, driver }: Stage): Promise<void> {
  const { seed, durationMs, jobsPerMinute, log } = options
  const chance = createChance(seed, 3)
  const started = Date.now()
  const elapsed = (): number => Date.now() - started
  let at = 0
  const underWay = new Set<number>()
  const mustWait = (): boolean =>
    elapsed() < durationMs && (elapsed() < at || underWay.size >= MOST_RUNS_AT_ONCE)
  for (let number = 0; ; number += 1) {
    at += chance.between(0, 120_000 / jobsPerMinute)
    while (mustWait()) await sleep(50)
    if (elapsed() >= durationMs) return
    underWay.add(number)
    driver
      .live(number, lifeOf(seed, number))
      .catch((error: unknown) => log(`run ${number}: ${String(error)}`))
      .finally(() => underWay.delete(number))
  }
}

/** Carries the schedule out. Faults of processes wait for each other, those of connections for nobody. */
async function makeTrouble(stage: Stage): Promise<number> {
  const { options } = stage
  const schedule = scheduleOf(options.seed, options.durationMs)
  const started = Date.now()
  const seconds = (): string => `${Math.round((Date.now() - started) / 1_000)} s`.padStart(6)
  const lasting: Promise<void>[] = []
  let processes = Promise.resolve()
  for (const fault of schedule) {
    await sleep(Math.max(0, started + fault.at - Date.now()))
    const say = (): void => options.log(`${seconds()}  ${faultInWords(fault)}`)
    if (fault.scope === 'process') {
      processes = afterwards(processes, say, () => troubleProcess(stage, fault.what))
      continue
    }
    say()
    if (fault.scope === 'clock') stage.posts[fault.replica].replica.setClock(fault.what.offByMs)
    else lasting.push(troubleConnections(stage, fault))
  }
  await sleep(Math.max(0, started + options.durationMs - Date.now()))
  await Promise.all([...lasting, processes])
  return schedule.length
}

async function afterwards(before: Promise<void>, say: () => void, act: () => Promise<void>): Promise<void> {
  await before
  say()
  await act()
}

async function troubleConnections(
  { posts }: Stage,
  { replicas, server, what, forMs }: ConnectionFault,
): Promise<void> {
  const heals = await Promise.all(replicas.map(name => posts[name].ways[server].begin(what)))
  await sleep(forMs)
  await Promise.all(heals.map(heal => heal()))
}

async function troubleProcess(stage: Stage, what: ProcessFault['what']): Promise<void> {
  const { controlPlane, prefect, posts } = stage
  const leader = (): Replica =>
    REPLICAS.map(name => posts[name].replica).find(({ isLeading }) => isLeading()) ?? posts.a.replica
  switch (what.kind) {
    case 'apiserverRestart':
      await controlPlane.stopApiserver(what.signal)
      await sleep(what.downMs)
      await controlPlane.startApiserver()
      break
    case 'compaction':
      await controlPlane.compactEtcd()
      await controlPlane.stopApiserver()
      await controlPlane.startApiserver()
      break
    case 'prefectDown':
      await prefect.stopServer('SIGKILL')
      await sleep(what.downMs)
      await prefect.startServer()
      break
    case 'kill':
      await posts[what.replica].replica.kill(() => sleep(what.downMs))
      break
    case 'handOver':
      await leader().restart()
      break
    case 'freeze':
      await leader().freeze(what.forMs)
      break
    case 'blackout':
      await blackout(stage, what.downMs)
      break
  }
}

/** Both replicas are gone, Jobs and their pods go, and only then somebody watches again. */
async function blackout({ posts, driver }: Stage, downMs: number): Promise<void> {
  const over = Promise.withResolvers<void>()
  const killed = Promise.all(REPLICAS.map(name => posts[name].replica.kill(() => over.promise)))
  await Promise.all([sleep(downMs), driver.vanish()])
  over.resolve()
  await killed
}

/** Counters begin anew with each process: the last that was seen of each is added up. */
function countAll(posts: readonly Post[], signal: AbortSignal) {
  const lives = new Map<string, Figures>()
  const sample = async (): Promise<void> => {
    await Promise.all(
      posts.map(async ({ replica }) => {
        const key = `${replica.name} ${replica.pid()}`
        const figures = await replica.figures()
        if (figures) lives.set(key, figures)
      }),
    )
  }
  const sampling = async (): Promise<void> => {
    while (!signal.aborted) {
      await sample()
      await sleep(2_000, undefined, { signal }).catch(() => {})
    }
  }
  void sampling()
  return {
    sample,
    total: (name: string) => [...lives.values()].reduce((sum, figures) => sum + sumOf(figures, name), 0),
  }
}
