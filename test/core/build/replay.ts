import type { Gone, JobFact, PodFact } from '../../../src/core/facts.ts'
import type { FlowRun, State } from '../../../src/core/flow-run.ts'
import { hasEnded } from '../../../src/core/life.ts'
import type { Condition, ContainerStatus, Instant, Node } from '../../../src/core/objects.ts'
import { mayRun } from '../../../src/core/stranded.ts'
import type { Expectation, Recorded, Recording } from '../../fixtures/recorded.ts'
import { at } from './objects.ts'
import { run, state, states } from './runs.ts'
import type { World } from './world.ts'
import { UNKNOWN } from './world.ts'

/** How far the order of what Prefect and Kubernetes tell is open: states were sampled, timestamps are whole seconds. */
const SLACK = 2000

/** A recording as it was seen at one moment, by an observer that knows so much of each stream. */
export interface Moment {
  /** How many watch events have come. */
  readonly events: number
  readonly world: World
}

/**
 * Every moment of a recording: after each watch event, with each state that the run may have had by then, and with
 * `infrastructure_pid` set or not yet.
 */
export function momentsOf(recording: Recording, { end }: Expectation): readonly Moment[] {
  const times = timesOf(recording)
  const past = statesOf(recording)
  return recording.watch.flatMap((_, index) => {
    const seen = seenAfter(recording.watch.slice(0, index + 1), times)
    const least = past.filter(({ timestamp }) => timestamp <= (times[index] ?? 0) - SLACK).length
    const most = past.filter(({ timestamp }) => timestamp <= (times[index + 1] ?? Infinity) + SLACK).length
    return countsBetween(Math.max(least, 1), most).flatMap(count => {
      const known = past.slice(0, count)
      const time = Math.max(times[index] ?? 0, known.at(-1)?.timestamp ?? 0)
      return pidsOf(seen.jobs, time).map(pid => ({
        events: index + 1,
        world: worldOf({ recording, end, seen, known, time, pid }),
      }))
    })
  })
}

/**
 * The last moment of a recording, and what came of it: a pod whose Job was deleted goes within its grace period.
 *
 * @param forgotten so many watch events were seen before a restart: what had gone by then is not known.
 */
export function endOf(recording: Recording, { end }: Expectation, forgotten = 0): World {
  const times = timesOf(recording)
  const { jobs, pods, events } = seenAfter(recording.watch, times)
  const known = statesOf(recording)
  const time = Math.max(times.at(-1) ?? 0, ...recording.timeline.map(({ t }) => t * 1000))
  const remembered = isRemembered(recording.watch.slice(0, forgotten))
  const seen = {
    jobs: jobs.filter(({ job }) => remembered(job.metadata.uid)),
    pods: pods.filter(({ pod }) => remembered(pod.metadata.uid)).map(fact => collected(fact, { jobs, time })),
    events,
  }
  return worldOf({ recording, end, seen, known, time, pid: pidOf(jobs.at(-1)) })
}

/** After how many watch events Kubernetes had given up on the run: its last Job ended or was deleted. */
export function givenUpAfter({ watch }: Recording): number {
  const jobs = watch.flatMap(event => (event.kind === 'Job' ? event.object.metadata.uid : []))
  const index = watch.findIndex(
    event =>
      event.kind === 'Job' &&
      event.object.metadata.uid === jobs.at(-1) &&
      (event.type === 'DELETED' || hasEnded({ job: event.object })),
  )
  return index === -1 ? Infinity : index + 1
}

const countsBetween = (least: number, most: number): readonly number[] =>
  Array.from({ length: most - least + 1 }, (_, index) => least + index)

interface Seen {
  readonly jobs: readonly JobFact[]
  readonly pods: readonly PodFact[]
  readonly events: Exclude<World['events'], string | undefined>
}

interface Scene {
  readonly recording: Recording
  readonly end: Expectation['end']
  readonly seen: Seen
  readonly known: readonly State[]
  readonly time: Instant
  readonly pid: string | undefined
}

const worldOf = ({ recording, end, seen, known, time, pid }: Scene): World => ({
  ...seen,
  now: (time - at(0)) / 1000,
  nodes: nodesOf(seen.pods),
  states: known,
  run: isDown(recording, time) ? UNKNOWN : runOf({ end, known, pid }),
})

function runOf({ end, known, pid }: Pick<Scene, 'end' | 'known' | 'pid'>): FlowRun {
  const found = run({
    names: null,
    ...(pid !== undefined && { infrastructurePid: pid }),
    isTopLevel: end === 'not ours',
    runCount: known.filter(({ type }) => type === 'RUNNING').length,
    retries: end === 'retried' ? 1 : 0,
  })
  return { ...found, state: known.at(-1) ?? found.state }
}

/** When each watch event came: no earlier than anything that its object, or one before it, tells of. */
export function timesOf({ watch, timeline }: Recording): readonly Instant[] {
  let latest = 0
  return watch.map(event => {
    latest = Math.max(latest, ...instantsOf(event), deletionOf(event, timeline))
    return latest
  })
}

/** An object that was deleted does not say when; the timeline does, of Jobs. */
function deletionOf({ type, kind, object }: Recorded, timeline: Recording['timeline']): Instant {
  if (kind !== 'Job' || type !== 'DELETED') return 0
  return (timeline.find(({ what }) => what === `job ${object.metadata.name} deleted`)?.t ?? 0) * 1000
}

function instantsOf({ kind, object }: Recorded): readonly Instant[] {
  if (kind === 'Event') return [object.lastSeen ?? 0]
  const { creationTimestamp } = object.metadata
  const told = [creationTimestamp, ...object.status.conditions.flatMap(transition)]
  return kind === 'Job' ? told : [...told, ...object.status.containerStatuses.flatMap(beginAndEnd)]
}

const transition = ({ lastTransitionTime }: Condition): readonly Instant[] =>
  lastTransitionTime ? [lastTransitionTime] : []

const beginAndEnd = ({ state }: ContainerStatus): readonly Instant[] =>
  [state.running?.startedAt, state.terminated?.finishedAt].filter(instant => instant !== undefined)

/** The states that a run had, without what Prefect's own observer made of it; sampling has skipped some Pending. */
export function statesOf({ timeline }: Recording): readonly State[] {
  const found = timeline.flatMap(({ t, what }) => {
    const name = /^state (\w+):/.exec(what)?.[1]
    return name === undefined || name === 'Crashed'
      ? []
      : { ...state(name), id: `${name}-${t}`, timestamp: t * 1000 }
  })
  return found.flatMap((current, index) => {
    const isSkipped =
      current.type === 'PENDING' && current.name !== 'Pending' && found[index - 1]?.type === 'SCHEDULED'
    return isSkipped
      ? [
          { ...states('Pending')[0], id: `${current.id}-before`, timestamp: current.timestamp } as State,
          current,
        ]
      : current
  })
}

function seenAfter(watch: readonly Recorded[], times: readonly Instant[]): Seen {
  const gone = new Map<string, Gone>()
  const jobs = new Map<string, JobFact>()
  const pods = new Map<string, PodFact>()
  for (const [index, event] of watch.entries()) {
    if (event.kind === 'Event') continue
    const { uid } = event.object.metadata
    if (event.type === 'DELETED') gone.set(uid, { at: times[index] ?? 0, finalStateUnknown: false })
    const going = gone.get(uid)
    if (event.kind === 'Job') jobs.set(uid, { job: event.object, ...(going && { gone: going }) })
    else pods.set(uid, { pod: event.object, ...(going && { gone: going }) })
  }
  return {
    jobs: [...jobs.values()],
    pods: [...pods.values()],
    events: watch.flatMap(event => (event.kind === 'Event' ? event.object : [])),
  }
}

/** The Jobs that `infrastructure_pid` can name: the newest one, or for a moment still the one before. */
function pidsOf(jobs: readonly JobFact[], time: Instant): readonly (string | undefined)[] {
  const newest = jobs.at(-1)
  const isYoung = (newest?.job.metadata.creationTimestamp ?? time) >= time - SLACK
  return isYoung ? [pidOf(jobs.at(-2)), pidOf(newest)] : [pidOf(newest)]
}

export const pidOf = (fact: JobFact | undefined): string | undefined =>
  fact && `${fact.job.metadata.namespace}:${fact.job.metadata.name}`

/** Every node of these recordings stayed Ready. */
export const nodesOf = (pods: readonly PodFact[]): readonly Node[] =>
  pods.flatMap(({ pod }) =>
    pod.spec.nodeName === undefined ? [] : { name: pod.spec.nodeName, ready: 'True' as const },
  )

export function isDown({ timeline }: Recording, time: Instant): boolean {
  const [down, back] = ['api down', 'api back'].map(what => timeline.find(entry => entry.what === what)?.t)
  return down !== undefined && back !== undefined && time >= down * 1000 && time < back * 1000
}

function isRemembered(watch: readonly Recorded[]): (uid: string) => boolean {
  const gone = new Set(
    watch.flatMap(({ kind, type, object }) =>
      kind !== 'Event' && type === 'DELETED' ? object.metadata.uid : [],
    ),
  )
  return uid => !gone.has(uid)
}

function collected(fact: PodFact, { jobs, time }: { jobs: readonly JobFact[]; time: Instant }): PodFact {
  const owner = jobs.find(({ job }) =>
    fact.pod.metadata.ownerReferences.some(({ uid }) => uid === job.metadata.uid),
  )
  return owner?.gone && mayRun(fact)
    ? { ...fact, gone: { at: time + 30_000, finalStateUnknown: true } }
    : fact
}
