import { setTimeout as sleep } from 'node:timers/promises'
import { jobs } from '../../cluster/resources.ts'
import { forEach } from '../observers/cast.ts'
import type { Cast } from '../observers/cast.ts'
import { startObserver } from '../observers/observers.ts'
import type { Observer, Side } from '../observers/observers.ts'
import { connectionsTo } from '../observers/usage.ts'
import type { Run, World } from '../observers/world.ts'
import type { AuditLog } from './audit.ts'
import { between, LATEST_QUESTION_MS, whenAnswered, whenQuiet } from './settled.ts'
import type { Asked } from './settled.ts'

export interface Scene {
  readonly world: World
  readonly cast: Cast
  readonly audit: AuditLog
  readonly progress: (line: string) => void
}

/** What one observer asked for in each part of the runs' lives. */
export interface Bill {
  /** Runs arrive in a burst, their pods start, their flows report Running. */
  readonly arrival: Asked
  /** The same runs complete. */
  readonly completion: Asked
  /** Others arrive, run and die. */
  readonly deaths: Asked
  /** Of those that died, how many are not Crashed. */
  readonly unanswered: number
  /** To the API server, when nothing has happened for a while. */
  readonly connections: number
}

export interface Sizes {
  readonly healthy: number
  readonly dying: number
}

/** Jobs that are made at the same time: a worker pool that has many runs to start. */
const AT_ONCE = 100

const LOOK_MS = 500

/** How the clients call themselves: ours; kopf's and kubernetes_asyncio's, which the peer uses. */
const CLIENTS: Readonly<Record<Side, RegExp>> = {
  ours: /^prefect-lifeguard/,
  peer: /^kopf|^OpenAPI-Generator/,
}

/** Lets runs arrive, complete and die before one observer. Its namespace is its name. */
export async function billOf(side: Side, scene: Scene, { healthy, dying }: Sizes): Promise<Bill> {
  const { world, progress } = scene
  await world.makeNamespace(side)
  const well = await world.makeRuns({ ...ARRIVING, namespace: side, prefix: 'well', count: healthy })
  await using observer = await startObserver(side, world, { namespace: side })
  const askedSoFar = ask(side, observer, scene)
  const start = await askedSoFar()
  progress(`${side}: ${healthy} runs arrive`)
  const complete = await arrive(scene, well)
  const arrived = await askedSoFar()
  progress(`${side}: they complete`)
  complete('completes')
  await whenCompleted(world, side, healthy)
  if (side === 'ours') await sleep(LATEST_QUESTION_MS)
  const completed = await askedSoFar()
  progress(`${side}: ${dying} runs arrive and die`)
  // Not before: what is Pending for minutes without a Job is an orphan, and looked at.
  const ill = await world.makeRuns({ ...ARRIVING, namespace: side, prefix: 'ill', count: dying })
  const kill = await arrive(scene, ill)
  kill('oom')
  const unanswered = await whenAnswered(ill, observer.proxy)
  const died = await askedSoFar()
  return {
    arrival: between(start, arrived),
    completion: between(arrived, completed),
    deaths: between(completed, died),
    unanswered,
    connections: await connectionsTo(Number(new URL(world.controlPlane.server).port), observer.pid),
  }
}

const ARRIVING = { state: 'PENDING' } as const

const ask =
  (side: Side, { proxy }: Observer, { audit }: Scene) =>
  async (): Promise<Asked> => {
    await whenQuiet(proxy)
    const apiserver = await audit.requests(userAgent => CLIENTS[side].test(userAgent))
    return { prefect: proxy.counts(), messages: proxy.messages(), apiserver }
  }

/** Resolves when all of them run; the function ends them. */
async function arrive({ cast }: Scene, runs: readonly Run[]): Promise<(how: 'oom' | 'completes') => void> {
  const end = Promise.withResolvers<'oom' | 'completes'>()
  const running: Promise<void>[] = []
  await forEach(runs, AT_ONCE, async run => {
    const isUp = Promise.withResolvers<void>()
    running.push(isUp.promise)
    await cast.begin({ run, reports: true, end: end.promise, onRunning: isUp.resolve })
  })
  await Promise.all(running)
  return end.resolve
}

async function whenCompleted({ controlPlane }: World, namespace: string, count: number): Promise<void> {
  const isDone = async (): Promise<boolean> => {
    const { items } = await controlPlane.api.list(jobs, { namespace })
    return items.filter(({ status }) => status.succeeded === 1).length === count
  }
  while (!(await isDone())) await sleep(LOOK_MS)
}
