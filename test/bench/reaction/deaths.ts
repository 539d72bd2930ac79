import { setTimeout as sleep } from 'node:timers/promises'
import { forEach } from '../observers/cast.ts'
import type { Cast } from '../observers/cast.ts'
import type { Observer, Side } from '../observers/observers.ts'
import type { Run, World } from '../observers/world.ts'
import type { JobEnds } from './job-ends.ts'

export interface Scene {
  readonly world: World
  readonly cast: Cast
  readonly ends: JobEnds
}

/** A run that waits to be killed. */
interface Victim {
  readonly run: Run
  readonly side: Side
  readonly kill: () => void
}

/** From the Job's terminal condition to Prefect's having taken the new state, in milliseconds; of each death in turn. */
export type Reactions = Readonly<Record<Side, readonly (number | undefined)[]>>

export interface Deaths {
  readonly observers: Readonly<Partial<Record<Side, Observer>>>
  readonly namespaces: Readonly<Record<Side, string>>
  /** Of each side. */
  readonly count: number
  /** From one death to the next, of both sides together. */
  readonly everyMs: number
  /** Names of Jobs begin with it. */
  readonly prefix: string
  /** What Prefect knows of the runs: Pending where a pod dies before its flow could say anything. */
  readonly state: 'RUNNING' | 'PENDING'
}

const AT_ONCE = 10

/** The peer waits 30 s with a run that is Pending; who has not answered by then is not waited for. */
const ANSWER_MS = 45_000

const LOOK_MS = 50

/** Starts all victims, then kills one after the other, ours and the peer's in turns. */
export async function killInTurns(scene: Scene, deaths: Deaths): Promise<Reactions> {
  const sides = (['ours', 'peer'] as const).filter(side => deaths.observers[side])
  const groups = await Promise.all(sides.map(side => startVictims(scene, side, deaths)))
  const inTurns = Array.from({ length: deaths.count }, (_, number) => groups.flatMap(of => of[number] ?? []))
  for (const { kill } of inTurns.flat()) {
    kill()
    await sleep(deaths.everyMs)
  }
  const reactionsOf = (side: Side): Reactions[Side] =>
    groups
      .flat()
      .filter(victim => victim.side === side)
      .map(victim => reactionTo(victim, scene, deaths))
  const deadline = Date.now() + ANSWER_MS
  for (;;) {
    const reactions = { ours: reactionsOf('ours'), peer: reactionsOf('peer') }
    const areAnswered = !Object.values(reactions).flat().includes(undefined)
    if (areAnswered || Date.now() > deadline) return reactions
    await sleep(LOOK_MS)
  }
}

async function startVictims(
  { world, cast }: Scene,
  side: Side,
  { namespaces, count, prefix, state }: Deaths,
): Promise<readonly Victim[]> {
  const namespace = namespaces[side]
  const runs = await world.makeRuns({ state, namespace, prefix, count })
  const victims: Victim[] = []
  await forEach(runs, AT_ONCE, async run => {
    const end = Promise.withResolvers<'oom'>()
    const isUp = Promise.withResolvers<void>()
    await cast.begin({ run, reports: false, end: end.promise, onRunning: isUp.resolve })
    await isUp.promise
    victims.push({ run, side, kill: () => end.resolve('oom') })
  })
  return victims
}

/** Below zero where the observer did not wait for the terminal condition. */
function reactionTo({ run, side }: Victim, { ends }: Scene, { observers }: Deaths): number | undefined {
  const crashedAt = observers[side]?.proxy.crashedAt(run.flowRunId)
  const failedAt = ends.failedAt(run.namespace, run.name)
  return crashedAt === undefined || failedAt === undefined ? undefined : crashedAt - failedAt
}
