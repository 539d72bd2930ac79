import { mkdtempDisposable, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startControlPlane } from '../cluster/control-plane.ts'
import type { Bench, Figure, Group, Measurements } from './group.ts'
import { ensureGoPrograms, ensurePepr, goVersionOf, peprVersion } from './peers/build.ts'
import { CONTESTANTS, startContestants } from './peers/contestants.ts'
import type { Contestant, ContestantName } from './peers/contestants.ts'
import { sendReviews } from './peers/load.ts'
import type { LoadOptions } from './peers/load.ts'
import { startPrefectStub } from './peers/prefect.ts'
import type { PrefectStub } from './peers/prefect.ts'
import { podReview } from './peers/reviews.ts'
import { inTurns, ratios } from './statistics.ts'

/** Kilobytes of a review: an ordinary pod, a large one, and one that is about as large as etcd takes. */
const SIZES = [6, 60, 600] as const
type Size = (typeof SIZES)[number]

/** What there are numbers to reach for. */
const ORDINARY: Size = 6

const ROUNDS = 5
const SECONDS = 1.5
/** Until all parents are known and V8 has compiled what is hot, on the one core it has; then for each other size. */
const WARM_UP_SECONDS = { first: 8, later: 2 } as const

/** More than one core can answer at a time; the apiserver opens as many as it needs. */
const CONNECTIONS = 16
/** While Prefect is asked, nobody computes: more reviews have to be under way for a core to be busy. */
const COLD_CONNECTIONS = 128

/** Whose parents are known: more than fit into a processor's caches, fewer than ours keeps. */
const RUNS = 1_000

/** One turn of one contestant. */
interface Turn {
  readonly perSecond: number
  /** CPU of the contestant, per review. */
  readonly microseconds: number
  /** Share of its core that the load generator used. */
  readonly generator: number
}

type Turns = Readonly<Record<ContestantName, readonly Turn[]>>

/** How many reviews a second one core answers. */
export const webhook: Group = {
  name: 'webhook',
  title: 'Webhook: reviews a second on one core',
  run: async bench => {
    await using folder = await mkdtempDisposable(join(tmpdir(), 'bench-webhook-'))
    return await measure(bench, folder.path)
  },
}

async function measure({ progress }: Bench, folder: string): Promise<Measurements> {
  const [go, pepr] = [await ensureGoPrograms(progress), await ensurePepr(progress)]
  progress('starting everybody')
  await using controlPlane = await startControlPlane()
  await using prefect = await startPrefectStub()
  await using contestants = await startContestants({ controlPlane, folder, prefect: prefect.url, go, pepr })
  const take = createTake(go.load, folder)
  const warm: [Size, Turns][] = []
  for (const size of SIZES) {
    progress(`${size} kB, parents known`)
    await writeFile(join(folder, `${size}.json`), await podReview(size * 1_000))
    const seconds = size === ORDINARY ? WARM_UP_SECONDS.first : WARM_UP_SECONDS.later
    // Over many connections: ours asks about a burst of runs once it pauses, at most about as many as there are connections.
    for (const name of CONTESTANTS)
      await take(contestants.all[name], { size, seconds, connections: COLD_CONNECTIONS })
    const turns = Object.fromEntries(
      CONTESTANTS.map(name => [name, () => take(contestants.all[name], { size, seconds: SECONDS })]),
    )
    warm.push([size, (await inTurns(ROUNDS, turns)) as Turns])
  }
  progress('6 kB, parents unknown')
  const cold = await measureCold(take, { contestant: contestants.all['prefect-lifeguard'], prefect })
  return {
    figures: [...figuresOf(new Map(warm)), ...coldFigures(cold)],
    charts: [
      {
        kind: 'bars',
        name: 'throughput',
        title: 'Reviews a second on one core, parents known',
        unit: 'reviews/s',
        groups: warm.map(([size, turns]) => ({
          label: `${size} kB`,
          bars: CONTESTANTS.map(label => ({
            label,
            samples: turns[label].map(({ perSecond }) => perSecond),
          })),
        })),
      },
    ],
    versions: {
      'controller-runtime': await goVersionOf('sigs.k8s.io/controller-runtime'),
      Pepr: await peprVersion(),
    },
    method: METHOD,
    limit: LIMIT,
  }
}

interface TurnOptions {
  readonly size: Size
  readonly seconds: number
  readonly connections?: number
  readonly runs?: LoadOptions['runs']
}

type Take = (contestant: Contestant, options: TurnOptions) => Promise<Turn>

/** Lets one contestant answer for a while. What it has logged is thrown away after it. */
const createTake =
  (program: string, folder: string): Take =>
  async (
    { port, mutate: path, ...contestant },
    { size, seconds, connections = CONNECTIONS, runs = RUNS },
  ) => {
    const before = await contestant.cpuSeconds()
    const review = join(folder, `${size}.json`)
    const sent = await sendReviews({ program, port, path, review, seconds, connections, runs })
    const cpuSeconds = (await contestant.cpuSeconds()) - before
    await contestant.forgetLog()
    return {
      perSecond: sent.requests / sent.seconds,
      microseconds: (cpuSeconds / sent.requests) * 1e6,
      generator: sent.cpuSeconds / sent.seconds,
    }
  }

interface Cold {
  readonly turns: readonly Turn[]
  /** Requests to Prefect for a thousand reviews, turn by turn. */
  readonly requests: readonly number[]
}

/** Every review is about a run nobody has asked about. */
async function measureCold(
  take: Take,
  { contestant, prefect }: { readonly contestant: Contestant; readonly prefect: PrefectStub },
): Promise<Cold> {
  const turns: Turn[] = []
  const requests: number[] = []
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = prefect.requests()
    const runs = { newFrom: (round + 1) * 10_000_000 }
    const turn = await take(contestant, { size: 6, seconds: SECONDS, connections: COLD_CONNECTIONS, runs })
    turns.push(turn)
    requests.push(((prefect.requests() - before) / (turn.perSecond * SECONDS)) * 1_000)
  }
  return { turns, requests }
}

const rates = (turns: readonly Turn[]): readonly number[] => turns.map(({ perSecond }) => perSecond)

const figuresOf = (warm: ReadonlyMap<Size, Turns>): readonly Figure[] =>
  [...warm].flatMap(([size, turns]) => figuresAt(size, turns))

function figuresAt(size: Size, turns: Turns): Figure[] {
  const ours = rates(turns['prefect-lifeguard'])
  const suffix = size === ORDINARY ? '' : `At${size}kB`
  const against = (name: ContestantName, field: string, atLeast: number): Figure => ({
    name: `${field}${suffix}`,
    what: `${size} kB: ours / ${name}`,
    unit: '×',
    samples: ratios(ours, rates(turns[name])),
    ...(size === ORDINARY && { reach: { atLeast } }),
  })
  const figures = [
    against('bare node:https', 'ratioToBare', 0.8),
    against('controller-runtime', 'ratioToControllerRuntime', 5),
    against('Pepr', 'ratioToPepr', 5),
    { name: `perSecond${suffix}`, what: `${size} kB: ours`, unit: 'reviews/s', samples: ours },
  ]
  return size === ORDINARY ? figures.concat(cpuFigures(turns)) : figures
}

const cpuFigures = (turns: Turns): readonly Figure[] => [
  {
    name: 'cpuPerReview',
    what: '6 kB: CPU of ours, per review',
    unit: 'µs',
    samples: turns['prefect-lifeguard'].map(({ microseconds }) => microseconds),
  },
  {
    name: 'cpuPerReviewOfBare',
    what: '6 kB: CPU of the bare handler, per review',
    unit: 'µs',
    samples: turns['bare node:https'].map(({ microseconds }) => microseconds),
  },
  {
    name: 'generator',
    what: '6 kB: how busy the load generator was while the bare handler answered (1: it would be the bottleneck)',
    unit: '',
    samples: turns['bare node:https'].map(({ generator }) => generator),
  },
]

const coldFigures = ({ turns, requests }: Cold): readonly Figure[] => [
  {
    name: 'perSecondCold',
    what: '6 kB, every run unknown: ours',
    unit: 'reviews/s',
    samples: rates(turns),
  },
  {
    name: 'requestsPer1000Cold',
    what: '6 kB, every run unknown: requests to Prefect for 1,000 reviews',
    unit: '',
    samples: requests,
  },
]

const METHOD = `All four label pods and Jobs, keep parents they have asked for, and answer over TLS 1.3 on connections that are kept
alive. Each is a process that may use the first core alone; the load generator (\`test/bench/peers/controller-runtime/load\`) sends
from the second over ${CONNECTIONS} connections, with the review of a pod that Prefect's worker made, grown to size by environment
variables, for ${RUNS.toLocaleString('en')} flow runs in turn. ${ROUNDS} rounds of ${SECONDS} s each, everybody in turns. Each one logs as it does out of the box,
into a file; the bare handler does not log, count, check or bound anything. Prefect is a stub, so that a core is left for
what is measured, and \`LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE\` is raised, for no cluster asks so often.`

const LIMIT = `Mostly what the bare handler does, too: in a profile of ours (\`perf\`, 118 µs a review) JSON.parse has 17 %, reading and writing through TLS 12 %, and the
kernel's part of the write 28 %. Ours has more of the last one, 19 µs in one profile and 8 in
another: nearly all of it is waking the load generator, which sleeps between answers the more, the slower they come. What is
ours alone is under a quarter: fastify 7 µs (5 of them for routing, request and reply), the log line 5, patch and answer 5, deciding
with its look-up 2, reading the fields 1, metrics 1. All of that together gone, 0.8 would just be reached; none of it can go. Before,
a review took 151 µs on an idle machine: a known parent had a timer and an AbortSignal, zod read the fields, each line was a write
of its own. Larger semi-spaces (\`--max-semi-space-size\`) changed nothing: garbage collection is 1 %. What we add does not grow with
the review, so that at 600 kB the two are nearly level. In the first seconds after a start everything is slower by several times, until V8
has compiled what is hot on the one core it has. With unknown parents a request to Prefect is shared by nearly fifty reviews.`
