import { mkdtempDisposable, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { PARENT_TASK_RUN_ID_LABEL } from '../../src/core/names.ts'
import { clientOf } from '../admission/on-cluster.ts'
import type { Ask } from '../admission/on-cluster.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import type { Bench, Chart, Figure, Group, Measurements } from './group.ts'
import { ensureGoPrograms, ensurePepr, goVersionOf, peprVersion } from './peers/build.ts'
import { CONTESTANTS, startContestants } from './peers/contestants.ts'
import type { ContestantName } from './peers/contestants.ts'
import { startPrefectStub } from './peers/prefect.ts'
import type { PrefectStub } from './peers/prefect.ts'
import { registerContestant } from './peers/registration.ts'
import { inTurns, median, quantile, ratios } from './statistics.ts'

const NOBODY = 'no webhook'
const SIDES = [NOBODY, ...CONTESTANTS] as const
type Side = (typeof SIDES)[number]

const OURS = 'prefect-lifeguard'
const BARE = 'bare node:https'

/** Jobs a second, and for how many seconds a side's turn lasts. */
const RATES = [
  { perSecond: 1, seconds: 4 },
  { perSecond: 20, seconds: 1.5 },
  { perSecond: 100, seconds: 1 },
] as const
type Rate = (typeof RATES)[number]

const ROUNDS = 5
/** Flow runs that have been asked for. */
const KNOWN_RUNS = 20

/** What a webhook adds to the creation of a Job, and what becomes of it when Prefect is in trouble. */
export const apiserver: Group = {
  name: 'apiserver',
  title: 'Creation of a Job through kube-apiserver',
  run: async bench => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'bench-apiserver-'))
    return await measure(bench, folder.path)
  },
}

async function measure({ progress }: Bench, folder: string): Promise<Measurements> {
  const [go, pepr] = [await ensureGoPrograms(progress), await ensurePepr(progress)]
  progress('starting everybody')
  // Nobody works on the Jobs: only their creation is measured.
  await using controlPlane = await startControlPlane({
    controllerManagerFlags: ['--controllers=*,-job-controller'],
  })
  await using prefect = await startPrefectStub()
  await using contestants = await startContestants({ controlPlane, folder, prefect: prefect.url, go, pepr })
  const client = clientOf(controlPlane)
  try {
    await created(
      client.ask({ method: 'POST', path: NAMESPACES, body: { metadata: { name: nameOf(NOBODY) } } }),
    )
    for (const name of CONTESTANTS) {
      const namespace = nameOf(name)
      await created(client.ask({ method: 'POST', path: NAMESPACES, body: { metadata: { name: namespace } } }))
      await registerContestant(client.ask, {
        contestant: contestants.all[name],
        ca: contestants.ca,
        namespace,
      })
    }
    const create = createJobs(client.ask, await recordedJob())
    progress('until all webhooks are called and all parents known')
    for (const side of SIDES) await untilItCounts(create, side)
    const known = await measureKnown(create, progress)
    progress('20 a second, parents unknown')
    const unknown = await measureUnknown(create, [NOBODY, BARE, OURS])
    const trouble = await measureTrouble(create, { prefect, progress })
    return {
      figures: [...figuresOf(known), ...figuresOfUnknown(unknown), ...trouble],
      charts: [chartOf(known)],
      versions: {
        'controller-runtime': await goVersionOf('sigs.k8s.io/controller-runtime'),
        Pepr: await peprVersion(),
      },
      method: METHOD,
      limit: LIMIT,
    }
  } finally {
    await client.close()
  }
}

const NAMESPACES = '/api/v1/namespaces'

async function created(answering: ReturnType<Ask>): Promise<void> {
  const { status, body } = await answering
  if (status !== 201) throw new Error(`creating a namespace was answered ${status}: ${body.message}`)
}

/** A namespace of its own for each side, and so the webhooks of nobody else. */
const nameOf = (side: Side): string => side.toLowerCase().replaceAll(/\W/g, '-')

const JOB = new URL('../admission/cases/recorded-job-of-a-prefect-worker.yaml', import.meta.url)

const jobSchema = z.object({
  metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }),
  spec: z.looseObject({
    template: z.looseObject({ metadata: z.looseObject({ labels: z.record(z.string(), z.string()) }) }),
  }),
})
type Job = z.infer<typeof jobSchema>

/** As Prefect's worker sends it. */
async function recordedJob(): Promise<Job> {
  const [recorded] = parseAllDocuments(await readFile(JOB, 'utf8'))
  const { metadata, spec } = jobSchema.parse(recorded?.toJS())
  const { selector: _selector, ...worker } = spec
  return {
    metadata: { generateName: 'bench-', labels: ofWorker(metadata.labels) },
    spec: {
      ...worker,
      template: { ...spec.template, metadata: { labels: ofWorker(spec.template.metadata.labels) } },
    },
  }
}

/** Without what the apiserver added. */
const ofWorker = (labels: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => !/controller-uid|job-name/.test(key)))

interface Creation {
  readonly ms: number
  readonly isLabelled: boolean
}

/** Creates Jobs at a rate, whether those before have been created or not. `run` numbers the flow run of each. */
type Create = (
  side: Side,
  load: { readonly perSecond: number; readonly seconds: number; readonly run: (index: number) => number },
) => Promise<readonly Creation[]>

const createJobs =
  (ask: Ask, job: Job): Create =>
  async (side, { perSecond, seconds, run }) => {
    const path = `/apis/batch/v1/namespaces/${nameOf(side)}/jobs`
    const createOne = async (index: number): Promise<Creation> => {
      await sleep((index / perSecond) * 1_000)
      const body = ofRun(job, flowRunId(run(index)))
      const began = performance.now()
      const answer = await ask({ method: 'POST', path, body })
      const ms = performance.now() - began
      if (answer.status !== 201)
        throw new Error(`${side}: a Job was answered ${answer.status}: ${answer.body.message}`)
      return { ms, isLabelled: PARENT_TASK_RUN_ID_LABEL in (answer.body.metadata.labels ?? {}) }
    }
    return Promise.all(Array.from({ length: perSecond * seconds }, (_, index) => createOne(index)))
  }

const FLOW_RUN_ID = 'prefect.io/flow-run-id'

const ofRun = ({ metadata, spec }: Job, id: string): object => {
  const { template } = spec
  const labels = { ...template.metadata.labels, [FLOW_RUN_ID]: id }
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: { ...metadata, labels: { ...metadata.labels, [FLOW_RUN_ID]: id } },
    spec: { ...spec, template: { ...template, metadata: { ...template.metadata, labels } } },
  }
}

const flowRunId = (number: number): string =>
  `22222222-2222-4222-8222-${number.toString(16).padStart(12, '0')}`

/** An apiserver takes a moment to hear of a registration; and what was never called is slow the first time. */
async function untilItCounts(create: Create, side: Side): Promise<void> {
  for (let attempt = 0; attempt < WARM_UP_ATTEMPTS; attempt += 1) {
    const creations = await create(side, { perSecond: 100, seconds: 1, run: index => index % KNOWN_RUNS })
    if (attempt > 0 && (side === NOBODY || creations.every(({ isLabelled }) => isLabelled))) return
  }
  throw new Error(`${side} does not label the Jobs of its namespace`)
}

const WARM_UP_ATTEMPTS = 10

/** The median latency of each turn, in milliseconds. */
type Latencies<Name extends Side = Side> = Readonly<Record<Name, readonly number[]>>

const latencyOf = (creations: readonly Creation[]): number => median(creations.map(({ ms }) => ms))

async function measureKnown(
  create: Create,
  progress: Bench['progress'],
): Promise<ReadonlyMap<Rate, Latencies>> {
  const measured = new Map<Rate, Latencies>()
  for (const rate of RATES) {
    progress(`${rate.perSecond} a second, parents known`)
    const turns = turnsOf(SIDES, async side => {
      const creations = await create(side, { ...rate, run: index => index % KNOWN_RUNS })
      const missed = creations.filter(({ isLabelled }) => !isLabelled).length
      if (side !== NOBODY && missed > 0)
        throw new Error(`${side} did not label ${missed} of ${creations.length} Jobs`)
      return latencyOf(creations)
    })
    measured.set(rate, await (rate.perSecond === 1 ? sideBySide(turns) : inTurns(ROUNDS, turns)))
  }
  return measured
}

type Turns<Name extends Side = Side> = Readonly<Record<Name, () => Promise<number>>>

const turnsOf = <Name extends Side>(
  sides: readonly Name[],
  turn: (side: Name) => Promise<number>,
): Turns<Name> => Object.fromEntries(sides.map(side => [side, () => turn(side)])) as Turns<Name>

/** Where nobody is busy they need not wait for each other: a Job every fifth of a second, each side's in turn. */
async function sideBySide(turns: Turns): Promise<Latencies> {
  const measured = SIDES.map(async (side, index) => {
    await sleep((index / SIDES.length) * 1_000)
    const medians: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) medians.push(await turns[side]())
    return [side, medians] as const
  })
  return Object.fromEntries(await Promise.all(measured)) as unknown as Latencies
}

/** Every Job is of a run nobody has asked about. */
async function measureUnknown<Name extends Side>(
  create: Create,
  sides: readonly Name[],
): Promise<Latencies<Name>> {
  let next = 1_000_000
  return inTurns(
    ROUNDS,
    turnsOf(sides, async side => {
      const first = next
      next += 1_000
      return latencyOf(await create(side, { perSecond: 20, seconds: 1, run: index => first + index }))
    }),
  )
}

/** Ours alone: the others have no deadline for Prefect, and would run into the apiserver's time-out. */
async function measureTrouble(
  create: Create,
  { prefect, progress }: { readonly prefect: PrefectStub; readonly progress: Bench['progress'] },
): Promise<readonly Figure[]> {
  const troubles = [
    { name: 'Slow', what: 'Prefect takes 500 ms', begin: () => prefect.answerAfter(500) },
    { name: 'Hanging', what: 'Prefect does not answer', begin: () => prefect.answerAfter(60_000) },
    { name: 'Gone', what: 'Prefect is gone', begin: () => prefect.goAway() },
  ] as const
  const figures: Figure[] = []
  for (const [index, { name, what, begin }] of troubles.entries()) {
    progress(what)
    await begin()
    const first = (index + 2) * 1_000_000
    const creations = await create(OURS, { perSecond: 20, seconds: 4, run: index => first + index })
    const labelled = creations.filter(({ isLabelled }) => isLabelled).length
    figures.push(
      {
        name: `ms${name}`,
        what: `${what}: ours, 20 a second, every run unknown; ${labelled} of ${creations.length} Jobs labelled at once`,
        unit: 'ms',
        samples: creations.map(({ ms }) => ms),
      },
      {
        name: `p99${name}`,
        what: `${what}: ours, 99 of 100 Jobs`,
        unit: 'ms',
        samples: [
          quantile(
            creations.map(({ ms }) => ms),
            0.99,
          ),
        ],
      },
    )
  }
  return figures
}

/** What a side costs more than none, round by round. */
const addedBy = <Name extends Side>(
  latencies: Latencies<Name | typeof NOBODY>,
  side: Name,
): readonly number[] => latencies[side].map((ms, round) => ms - (latencies[NOBODY][round] ?? Number.NaN))

const figuresOf = (known: ReadonlyMap<Rate, Latencies>): readonly Figure[] =>
  [...known].flatMap(([{ perSecond }, latencies]) => figuresAt(perSecond, latencies))

function figuresAt(perSecond: Rate['perSecond'], latencies: Latencies): Figure[] {
  const ours = addedBy(latencies, OURS)
  const against = (name: ContestantName, field: string): Figure => ({
    name: `${field}At${perSecond}`,
    what: `${perSecond} a second: added by ours / added by ${name}`,
    unit: '×',
    samples: ratios(ours, addedBy(latencies, name)),
    ...(name === BARE && { reach: { atMost: 1.5 } }),
  })
  return [
    {
      name: `msWithoutAt${perSecond}`,
      what: `${perSecond} a second: a Job without a webhook`,
      unit: 'ms',
      samples: latencies[NOBODY],
    },
    {
      name: `msAddedAt${perSecond}`,
      what: `${perSecond} a second: added by ours`,
      unit: 'ms',
      samples: ours,
    },
    against(BARE, 'ratioToBare'),
    against('controller-runtime', 'ratioToControllerRuntime'),
    against('Pepr', 'ratioToPepr'),
  ]
}

function figuresOfUnknown(
  latencies: Latencies<typeof NOBODY | typeof BARE | typeof OURS>,
): readonly Figure[] {
  return [
    {
      name: 'msAddedUnknown',
      what: '20 a second, every run unknown: added by ours',
      unit: 'ms',
      samples: addedBy(latencies, OURS),
    },
    {
      name: 'msAddedUnknownByBare',
      what: '20 a second, every run unknown: added by the bare handler, a request to Prefect for each',
      unit: 'ms',
      samples: addedBy(latencies, BARE),
    },
  ]
}

const chartOf = (known: ReadonlyMap<Rate, Latencies>): Chart => ({
  kind: 'bars',
  name: 'latency',
  title: 'Creation of a Job, median of each round',
  unit: 'ms',
  groups: [...known].map(([{ perSecond }, latencies]) => ({
    label: `${perSecond} a second`,
    bars: SIDES.map(label => ({ label, samples: latencies[label] })),
  })),
})

const METHOD = `Jobs as Prefect's worker makes them, created in namespaces that differ only in whose webhooks are registered there; the
registrations are those of \`manifests/base/webhooks.yaml\`, so each creation calls a webhook twice, to mutate and to validate. The
apiserver is real, with etcd beside it and no Job controller. ${ROUNDS} rounds, all in turns; a value is the median of a turn, and what
a webhook adds is the difference to a Job without one in the same round. The webhook servers share the first core, and the apiserver,
etcd and the client use both. Prefect is a stub that answers at once where nothing else is said.`

const LIMIT = `The call itself. Creating a Job calls us twice, to mutate and to validate, one after the other, and for each the apiserver
writes the object as JSON, sends it, waits, reads the answer, and applies the patch; a handler that does next to nothing costs nearly as
much. What we decide in between is an eighth of a millisecond of CPU per call where processes are warm; at 1 a second everybody wakes up
cold, and a process with more code wakes up slower. A parent that nobody has asked for costs a request to Prefect, and the pause in which
look-ups of a burst find together. With Prefect at 500 ms a look-up that comes while another is under way may wait for it, too.
Where Prefect does not answer, the Job waits for \`LIFEGUARD_LOOKUP_DEADLINE\` (900 ms) until enough have waited in vain and
nobody is asked any more; where it is gone, nobody waits. All of them are created, and labelled later.`
