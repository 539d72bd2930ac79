import { decide } from '../../../src/core/decide.ts'
import type { Evidence } from '../../../src/core/evidence.ts'
import { known, unknown } from '../../../src/core/evidence.ts'
import type { Facts, JobFact, Need, PodFact } from '../../../src/core/facts.ts'
import type { FlowRun, State } from '../../../src/core/flow-run.ts'
import type { KubernetesEvent, Node } from '../../../src/core/objects.ts'
import type { VerdictSettings } from '../../../src/core/settings.ts'
import { DEFAULT_SETTINGS } from '../../../src/core/settings.ts'
import type { Trail, Verdict } from '../../../src/core/verdict.ts'
import { at } from './objects.ts'
import { FLOW_RUN_ID, run } from './runs.ts'

/** A look-up that fails. */
export const UNKNOWN = 'unknown'

type Answer<T> = T | typeof UNKNOWN

/**
 * Everything there is to be known about a run, whether it will be asked for or not. What a sentence does not mention
 * is: no Job, no pod, a Running subflow run, one minute after noon.
 */
export interface World {
  /** Seconds after noon. */
  readonly now?: number
  readonly jobs?: Answer<readonly JobFact[]>
  readonly pods?: Answer<readonly PodFact[]>
  /** What a live list finds, where that differs from the watch. */
  readonly live?: Pick<World, 'jobs' | 'pods'>
  readonly nodes?: Answer<readonly Node[]>
  readonly events?: Answer<readonly KubernetesEvent[]>
  /** `null` where Prefect does not know the run. */
  readonly run?: Answer<FlowRun | null>
  readonly states?: Answer<readonly State[]>
  /** The Job that `infrastructure_pid` names and the run's label does not. */
  readonly namedJob?: Answer<JobFact>
  /** The last heartbeat, in seconds after noon. */
  readonly heartbeat?: Answer<number>
  readonly settings?: Partial<VerdictSettings>
}

export interface Answered {
  readonly verdict: Exclude<Verdict, { kind: 'ask' }>
  readonly trail: Trail
  /** What had to be read, in order. */
  readonly asked: readonly Need[]
  /** The facts as they were in the end. */
  readonly facts: Facts
}

/** The settings of a world: deaths are acted upon. */
export const settingsOf = ({ settings }: World): VerdictSettings => ({
  ...DEFAULT_SETTINGS,
  failureState: 'crashed',
  ...settings,
})

/** What the watch alone tells. */
export const seenIn = (world: World): Facts => ({
  flowRunId: FLOW_RUN_ID,
  now: at(world.now ?? 60),
  jobs: evidence(world.jobs ?? []),
  pods: evidence(world.pods ?? []),
  isLive: false,
})

/** Decides like an observer: begins with what the watch tells, and reads what is asked for. */
export const decideIn = (world: World): Answered => decideFrom(seenIn(world), world, [])

function decideFrom(facts: Facts, world: World, asked: readonly Need[]): Answered {
  const { verdict, trail } = decide(facts, settingsOf(world))
  if (verdict.kind !== 'ask') return { verdict, trail, asked, facts }
  const { need } = verdict
  if (asked.includes(need)) throw new Error(`${need} was asked for twice`)
  return decideFrom({ ...facts, ...ANSWERS[need](world) }, world, [...asked, need])
}

/** More waits than any run needs: for a report, a node, a newer state, a silent heart, a close call. */
const ENOUGH = 8

/** Decides, and waits as it is told, until there is something else to do; throws where that takes too many waits. */
export function waitIn(world: World): Exclude<Answered['verdict'], { kind: 'requeue' }> {
  let { now = 60 } = world
  for (let round = 0; round < ENOUGH; round += 1) {
    const { verdict } = decideIn({ ...world, now })
    if (verdict.kind !== 'requeue') return verdict
    now += verdict.afterMs / 1000
  }
  throw new Error(`Still waiting after ${ENOUGH} rounds`)
}

const ANSWERS: Readonly<Record<Need, (world: World) => Partial<Facts>>> = {
  flowRun: ({ run: found = run() }) => ({ flowRun: evidence(found ?? undefined) }),
  cluster: ({ jobs = [], pods = [], live }) => ({
    jobs: evidence(live?.jobs ?? jobs),
    pods: evidence(live?.pods ?? pods),
    isLive: true,
  }),
  nodes: ({ nodes = [] }) => ({ nodes: evidence(nodes) }),
  events: ({ events = [] }) => ({ events: evidence(events) }),
  states: ({ states = [] }) => ({ states: evidence(states) }),
  namedJob: ({ namedJob }) => ({ namedJob: namedJob === UNKNOWN ? FAILED : known(namedJob?.job) }),
  heartbeat: ({ heartbeat }) => ({
    heartbeat: heartbeat === UNKNOWN ? FAILED : known(heartbeat === undefined ? undefined : at(heartbeat)),
  }),
}

const FAILED = unknown('the API server answered 503')

const evidence = <T>(answer: Answer<T>): Evidence<T> => (answer === UNKNOWN ? FAILED : known(answer))
