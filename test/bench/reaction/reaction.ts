import { startStatusNode } from '../../chaos/node.ts'
import type { Bench, Figure, Group, Measurements } from '../group.ts'
import { createCast } from '../observers/cast.ts'
import type { Side } from '../observers/observers.ts'
import { startObserver } from '../observers/observers.ts'
import { prefectVersions } from '../observers/versions.ts'
import type { World } from '../observers/world.ts'
import { startWorld } from '../observers/world.ts'
import { ratios } from '../statistics.ts'
import { churn } from './churn.ts'
import type { Reactions, Scene } from './deaths.ts'
import { killInTurns } from './deaths.ts'
import { watchJobEnds } from './job-ends.ts'

const DEATHS = 200
const DEATHS_WHILE_PENDING = 20

/** Five a second, half of them for each side: far from what either can take, so that each is answered by itself. */
const EVERY_MS = 200

/** Other runs for each side, and new ones a second. */
const CHURN = { each: 500, perSecond: 15 } as const

/** How many die among them. */
const DEATHS_IN_CHURN = 25

/** One side at a time, so that neither feels the other's work; forwards and backwards. */
const BLOCKS: readonly Side[] = ['ours', 'peer', 'peer', 'ours']

const NAMESPACES: Readonly<Record<Side, string>> = { ours: 'ours', peer: 'peer' }

/** How soon a death is answered, ours beside Prefect's own observer. */
export const reaction: Group = {
  name: 'reaction',
  title: 'How soon a death is answered',
  sizes: ['churn'],
  run: async bench => {
    await using world = await startWorld()
    const cast = createCast(world.controlPlane.api, world.prefect.api)
    await using stack = new AsyncDisposableStack()
    const node = await startStatusNode({ api: world.controlPlane.api, play: cast.play })
    stack.defer(node.stop)
    await using ends = watchJobEnds(world.controlPlane.api)
    for (const namespace of Object.values(NAMESPACES)) await world.makeNamespace(namespace)
    const scene = { world, cast, ends }
    const alone = await prefectAlone(world)
    const quiet = await inQuiet(scene, bench)
    const others = bench.sizes.churn ?? CHURN.each
    const busy = joined(await amidChurn(scene, others, bench))
    return measurements({ ...quiet, busy, alone, others }, await prefectVersions())
  },
}

/** The least that any observer waits for: it reads the run, and proposes the state. */
async function prefectAlone({ makeRuns, prefect: { api } }: World): Promise<readonly number[]> {
  const times: number[] = []
  const asked = { state: 'RUNNING', namespace: 'nowhere', prefix: 'alone', count: 50 } as const
  for (const { flowRunId } of await makeRuns(asked)) {
    const began = performance.now()
    await api.readFlowRun(flowRunId)
    await api.setState(flowRunId, { type: 'CRASHED' })
    times.push(performance.now() - began)
  }
  return times
}

/** Courtesy towards Prefect is not what is measured; the peer has none. */
const UNLIMITED = { LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE: '100000' }

/** Both at work, each in its namespace; the deaths are theirs in turns. */
async function inQuiet(scene: Scene, { progress }: Bench): Promise<Quiet> {
  await using ours = await startObserver('ours', scene.world, { namespace: NAMESPACES.ours, env: UNLIMITED })
  await using peer = await startObserver('peer', scene.world, { namespace: NAMESPACES.peer })
  const common = { observers: { ours, peer }, namespaces: NAMESPACES, everyMs: EVERY_MS }
  progress(`${DEATHS} deaths for each, in turns`)
  const running = await killInTurns(scene, { ...common, ...DYING.running })
  progress(`${DEATHS_WHILE_PENDING} deaths for each, before the flow says anything`)
  const pending = await killInTurns(scene, { ...common, ...DYING.pending })
  return { running, pending }
}

interface Quiet {
  readonly running: Reactions
  readonly pending: Reactions
}

const DYING = {
  running: { state: 'RUNNING', count: DEATHS, prefix: 'quiet' },
  pending: { state: 'PENDING', count: DEATHS_WHILE_PENDING, prefix: 'pending' },
} as const

/** `others` come and go for each side, half of them in each of its blocks. */
async function amidChurn(scene: Scene, others: number, { progress }: Bench): Promise<readonly Reactions[]> {
  const count = Math.ceil(others / 2)
  const blocks: Reactions[] = []
  for (const [number, side] of BLOCKS.entries()) {
    progress(`${DEATHS_IN_CHURN} deaths among ${count} other runs: ${side}`)
    const namespace = NAMESPACES[side]
    await using observer = await startObserver(side, scene.world, { namespace, env: UNLIMITED })
    const everyMs = (count / CHURN.perSecond / DEATHS_IN_CHURN) * 1_000
    const deaths = { state: 'RUNNING', count: DEATHS_IN_CHURN, everyMs, prefix: `busy-${number}` } as const
    const [reactions] = await Promise.all([
      killInTurns(scene, { ...deaths, namespaces: NAMESPACES, observers: { [side]: observer } }),
      churn(scene, { namespace, prefix: `churn-${number}`, count, perSecond: CHURN.perSecond }),
    ])
    blocks.push(reactions)
  }
  return blocks
}

/** Deaths that both have answered, side by side. */
interface Pairs {
  readonly ours: readonly number[]
  readonly peer: readonly number[]
}

function pairsOf({ ours, peer }: Reactions): Pairs {
  const pairs = ours.flatMap((value, number) => {
    const other = peer[number]
    return value === undefined || other === undefined ? [] : [[value, other] as const]
  })
  return { ours: pairs.map(([value]) => value), peer: pairs.map(([, value]) => value) }
}

/** The first block of a side beside the first of the other, and so on. */
function joined(blocks: readonly Reactions[]): Reactions {
  const of = (side: Side): Reactions[Side] => blocks.flatMap(block => block[side])
  return { ours: of('ours'), peer: of('peer') }
}

function measurements(found: Found, versions: Readonly<Record<string, string>>): Measurements {
  return {
    figures: [
      ...CASES.flatMap(one => figuresOf(one, pairsOf(one.of(found)))),
      {
        name: 'prefectAlone',
        what: 'Prefect alone: to read a run and to take its new state, one after the other',
        unit: 'ms',
        samples: found.alone,
      },
      unanswered(found, { side: 'ours', name: 'unansweredOurs', who: 'ours' }),
      unanswered(found, { side: 'peer', name: 'unansweredPeer', who: 'the peer' }),
    ],
    charts: [
      {
        kind: 'bars',
        name: 'times',
        title: 'From the Job’s terminal condition to the run’s new state',
        unit: 'ms',
        groups: CASES.filter(({ isDrawn }) => isDrawn).map(({ label, of }) => ({
          label,
          bars: barsOf(pairsOf(of(found))),
        })),
      },
    ],
    versions,
    method: methodOf(found),
    limit: LIMIT,
  }
}

/** All reactions there are, in milliseconds. */
interface Found extends Quiet {
  readonly busy: Reactions
  readonly alone: readonly number[]
  /** Runs that came and went for each side. */
  readonly others: number
}

interface Case {
  /** Of the fields' names. */
  readonly suffix: string
  readonly label: string
  readonly of: (found: Found) => Reactions
  /** Beside half a minute nothing else would be seen. */
  readonly isDrawn: boolean
}

const CASES: readonly Case[] = [
  { suffix: '', label: 'a run dies', of: ({ running }) => running, isDrawn: true },
  { suffix: 'InChurn', label: 'while other runs come and go', of: ({ busy }) => busy, isDrawn: true },
  { suffix: 'Pending', label: 'before its flow says Running', of: ({ pending }) => pending, isDrawn: false },
]

const barsOf = ({ ours, peer }: Pairs) => [
  { label: 'ours', samples: ours },
  { label: 'Prefect’s observer', samples: peer },
]

function figuresOf({ suffix, label }: Case, { ours, peer }: Pairs): readonly Figure[] {
  return [
    {
      name: `ratioToPeer${suffix}`,
      what: `${label}: ours / the peer’s`,
      unit: '×',
      samples: ratios(ours, peer),
      reach: { atMost: 1 / 3 },
    },
    { name: `ours${suffix}`, what: `${label}: ours`, unit: 'ms', samples: ours },
    { name: `peer${suffix}`, what: `${label}: the peer`, unit: 'ms', samples: peer },
  ]
}

function unanswered(
  { running, busy, pending }: Found,
  { side, name, who }: { readonly side: Side; readonly name: string; readonly who: string },
): Figure {
  const all = [running, busy, pending].flatMap(reactions => reactions[side])
  const missing = all.filter(value => value === undefined).length
  return { name, what: `deaths of ${all.length} that ${who} did not answer`, unit: '', samples: [missing] }
}

function methodOf({ others }: Found): string {
  return `Real control plane, real Prefect server (sqlite). A Job's pod is reported OOM-killed; the clock runs from the moment that a
watch of the benchmark sees the Job's condition \`Failed\` until Prefect has answered the proposal of \`Crashed\` with \`ACCEPT\`, which a
proxy before Prefect sees. In the first part both observers are at work at the same time, each in a namespace of its own, and die by turns
the runs of one and of the other. In the second, one is at work at a time, while ${others.toLocaleString('en')} other runs of its own come, run and complete (\`--churn\`).
The peer is the observer of prefect-kubernetes as its worker starts it, alone in a process. Ours does not spare Prefect here
(\`LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE\`).`
}

const LIMIT = `On an idle machine Prefect itself: to read a run and to take its new state it needs more than half of our time, and of the peer's, so that
a third of the peer's time is out of anybody's reach. Of the rest ten milliseconds are a window in which reads of several runs become
one request (without it, a thousand runs that come due at the same moment were read one by one), and some are the two lists from the API server
that prove that nothing of the run is alive. Among other runs the peer falls behind: it reads a run, and may propose a state, for every pod that
is Pending, and a death waits its turn behind them, while for ours runs that live cost nothing. With a run that dies before its flow says
Running the peer waits thirty seconds for another Job; ours knows from the run's history that none is to come.`
