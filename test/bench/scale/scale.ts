import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench, Figure, Group, Lines, Measurements } from '../group.ts'
import type { Side } from '../observers/observers.ts'
import { startObserver } from '../observers/observers.ts'
import { usageOf } from '../observers/usage.ts'
import { prefectVersions } from '../observers/versions.ts'
import type { Run, World } from '../observers/world.ts'
import { startWorld } from '../observers/world.ts'
import { makeForeignPods, makeJobs, remove } from './population.ts'
import type { Step } from './step.ts'
import { cacheMiB, measureStep, PREFIX } from './step.ts'

/** Steps by tenths, each larger than the one before. */
const SIZES = [1_000, 10_000, 35_000, 100_000] as const

const DEFAULT = { jobs: 10_000, peerJobs: 1_000 } as const

/** One in ten dies. */
const DYING = 10

const FOREIGN_PODS = 10_000

const REST_MS = 10_000

const NAMESPACE = 'flows'

/** How far it goes: thousands of Jobs, a tenth of which dies at once. */
export const scale: Group = {
  name: 'scale',
  title: 'How far it goes',
  sizes: ['jobs', 'peerJobs'],
  run: async bench => {
    // Statuses are the driver's: no Job controller, no garbage collector. Pods need their service account.
    await using world = await startWorld({
      controllerManagerFlags: ['--controllers=serviceaccount-controller'],
    })
    await world.makeNamespace(NAMESPACE)
    const alive = new Set<Run>()
    const steps: Step[] = []
    for (const { size, side } of rounds(bench)) {
      await grow(world, { size, alive }, bench)
      const runs = [...alive]
      const dying = runs.filter((_, number) => number % DYING === 0)
      const { progress } = bench
      steps.push(await measureStep(world, { side, runs, dying, progress }))
      await remove(world, dying)
      for (const run of dying) alive.delete(run)
    }
    const memory = {
      pods: alive.size,
      trimmed: await cacheMiB(world, NAMESPACE, 'trimmed'),
      whole: await cacheMiB(world, NAMESPACE, 'whole'),
    }
    const foreign = await measureForeign(world, bench)
    return measurements({ steps, memory, foreign }, await prefectVersions())
  },
}

/** Who is measured at which size, the smallest first. */
function rounds({ sizes }: Bench): readonly { readonly size: number; readonly side: Side }[] {
  const { jobs = DEFAULT.jobs, peerJobs = DEFAULT.peerJobs } = sizes
  const steps = [...SIZES.filter(size => size < jobs), jobs]
  const ours = steps.map(size => ({ size, side: 'ours' }) as const)
  const peers = steps.filter(size => size <= peerJobs).map(size => ({ size, side: 'peer' }) as const)
  return [...ours, ...peers].toSorted((a, b) => a.size - b.size)
}

/** Makes the Jobs that are missing. */
async function grow(
  world: World,
  { size, alive }: { readonly size: number; readonly alive: Set<Run> },
  { progress }: Bench,
): Promise<void> {
  const count = size - alive.size
  progress(`making ${count} Jobs and their pods`)
  const prefix = `${PREFIX}${alive.size}-to-${size}`
  const runs = await world.makeRuns({ state: 'RUNNING', namespace: NAMESPACE, prefix, count })
  await makeJobs(world, runs)
  for (const run of runs) alive.add(run)
}

interface Foreign {
  readonly pods: number
  /** What ours used while they were made, and while nothing was made for as long, in seconds of a core. */
  readonly cpuSeconds: number
  readonly cpuSecondsAtRest: number
  readonly rssMiB: number
}

async function measureForeign(world: World, { progress }: Bench): Promise<Foreign> {
  await using observer = await startObserver('ours', world, { namespace: NAMESPACE })
  await sleep(REST_MS)
  progress(`making ${FOREIGN_PODS} foreign pods`)
  const began = Date.now()
  const before = await usageOf(observer.pid)
  await makeForeignPods(world, NAMESPACE, FOREIGN_PODS)
  const tookMs = Date.now() - began
  const after = await usageOf(observer.pid)
  await sleep(REST_MS)
  const rested = await usageOf(observer.pid)
  return {
    pods: FOREIGN_PODS,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    cpuSecondsAtRest: ((rested.cpuSeconds - after.cpuSeconds) * tookMs) / REST_MS,
    rssMiB: after.rssMiB - before.rssMiB,
  }
}

interface Found {
  readonly steps: readonly Step[]
  readonly memory: { readonly pods: number; readonly trimmed: number; readonly whole: number }
  readonly foreign: Foreign
}

function measurements(
  { steps, memory, foreign }: Found,
  versions: Readonly<Record<string, string>>,
): Measurements {
  return {
    figures: [
      ...steps.flatMap(figuresOf),
      one('memoryRatio', `memory of ${inThousands(memory.pods)} pods, ours / kept as they come`, {
        unit: '×',
        value: memory.trimmed / memory.whole,
        atMost: 1 / 4,
      }),
      one('cacheMiB', 'memory of these pods, ours', { unit: 'MiB', value: memory.trimmed }),
      one('wholeCacheMiB', 'memory of these pods, kept as they come', { unit: 'MiB', value: memory.whole }),
      one('foreignCpu', `CPU while ${inThousands(foreign.pods)} foreign pods are made, beyond rest`, {
        unit: 's',
        value: foreign.cpuSeconds - foreign.cpuSecondsAtRest,
      }),
      one('foreignMemory', 'memory that they add', { unit: 'MiB', value: foreign.rssMiB }),
    ],
    charts: [
      overSize(steps, { name: 'start', title: 'Start-up', label: 's', of: step => step.startUpSeconds }),
      overSize(steps, {
        name: 'memory',
        title: 'Memory of the process at rest',
        label: 'MiB',
        of: step => step.rssMiB,
      }),
      overSize(steps, {
        name: 'burst',
        title: 'Until the last of a tenth that dies at once is answered',
        label: 's',
        of: ({ burst }) => burst.seconds,
      }),
      drain(steps),
    ],
    versions,
    method: METHOD,
    limit: LIMIT,
  }
}

const inThousands = (count: number): string => count.toLocaleString('en')

const SIDES: Readonly<Record<Side, string>> = { ours: 'ours', peer: 'Prefect’s observer' }

interface Value {
  readonly unit: string
  readonly value: number
  readonly atMost?: number
}

/** Measured once: a value at one size is compared with those at others. */
const one = (name: string, what: string, { unit, value, atMost }: Value): Figure => ({
  name,
  what,
  unit,
  samples: [value],
  ...(atMost !== undefined && { reach: { atMost } }),
})

function figuresOf({ side, jobs, burst, ...step }: Step): readonly Figure[] {
  const who = `${side === 'ours' ? 'ours' : 'the peer'}, ${inThousands(jobs)} Jobs`
  const figure = (name: string, what: string, value: Value): Figure =>
    one(`${name}${side === 'ours' ? 'Ours' : 'Peer'}${jobs}`, `${who}: ${what}`, value)
  return [
    figure('startUp', 'start-up', { unit: 's', value: step.startUpSeconds }),
    figure('startUpRequests', 'asked of Prefect at the start', { unit: '', value: step.startUpRequests }),
    figure('memory', 'memory at rest', { unit: 'MiB', value: step.rssMiB }),
    figure('restingCpu', 'CPU at rest', { unit: '% of a core', value: step.restingCpu * 100 }),
    figure('burst', `${inThousands(burst.deaths)} die at once, until the last is answered`, {
      unit: 's',
      value: burst.seconds,
    }),
    figure('deathsAMinute', 'deaths answered a minute', {
      unit: '',
      value: ((burst.deaths - burst.lost) / burst.seconds) * 60,
    }),
    figure('burstCpu', 'CPU for a death', { unit: 'ms', value: (burst.cpuSeconds / burst.deaths) * 1_000 }),
    figure('requestsPerDeath', 'asked of Prefect for a death', {
      unit: '',
      value: burst.requests / burst.deaths,
    }),
    figure('lost', 'dead runs that are not Crashed', { unit: '', value: burst.lost, atMost: 0 }),
    figure('wrong', 'living runs that are', { unit: '', value: burst.wrong, atMost: 0 }),
  ]
}

interface Growth {
  readonly name: string
  readonly title: string
  readonly label: string
  readonly of: (step: Step) => number
}

function overSize(steps: readonly Step[], { name, title, label, of }: Growth): Lines {
  const points = (side: Side) =>
    steps.filter(step => step.side === side).map(step => [step.jobs, of(step)] as const)
  return {
    kind: 'lines',
    name,
    title,
    x: { label: 'Jobs' },
    y: { label },
    series: (['ours', 'peer'] as const).map(side => ({ label: SIDES[side], points: points(side) })),
  }
}

/** A straight line is a queue that drains evenly. */
const drain = (steps: readonly Step[]): Lines => ({
  kind: 'lines',
  name: 'drain',
  title: 'How a burst of deaths is worked off',
  x: { label: 's since the first death' },
  y: { label: 'deaths answered' },
  series: steps.map(({ side, jobs, burst }) => ({
    label: `${SIDES[side]}, ${inThousands(jobs)} Jobs`,
    points: [[0, 0], ...burst.answered],
  })),
})

const METHOD = `Real API server and Prefect server; Jobs and pods as a Prefect worker's are made, their statuses written by a driver (no Job
controller: it would be what is measured). All runs are Running in Prefect. An observer is started on what is there, rests, and then one run
in ten dies, all at once; afterwards every dead run must be Crashed and every other still Running. Start-up ends when it asks Prefect no
more. Ours does not spare Prefect here (\`LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE\`). Memory of pods: a process keeps them by our own watch,
once trimmed and once as they come, and collects everything else. Foreign pods carry no label of Prefect's. \`--jobs 35000 --peer-jobs 10000\`
goes further.`

const LIMIT = `Prefect and the two cores that all share: on sqlite Prefect is one process that takes a state in some 25 to 40 ms, and a death needs
about three requests; the observer's own 10 ms of a core for a death (15 where few die) would do for several thousand a minute. The lists
that prove that nothing of a run is alive go through everything the API server holds; runs that are looked at in the same moment share them
(ADR 14), so that with 35,000 Jobs as many deaths are answered in a minute as with 10,000. When each death had two lists of its own, it was a third
of that (310), and the API server was all that was waited for. It is still busy with them (87 % of a core, Prefect 77 %, ours 13 %, seen
while 3,500 died): the next list begins when one ends. At the default of \`LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE\` it is some 130 a minute and no more. Start-up is mostly the first comparison with
Prefect, which asks for every live run, 50 in a request, 10,000 at most; the peer asks about every single pod instead. (Where more is asked,
ours explains what the peer answered in the step before: the Jobs of dead runs stay here, for want of a garbage collector.) The pods themselves are the
smallest part of the process's memory: most is what V8 has not yet collected since the start, for nothing on this machine asked it to.
The peer keeps no copies of what it watches.`
