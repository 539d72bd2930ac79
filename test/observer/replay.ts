import { pino } from 'pino'
import { Registry } from 'prom-client'
import type { ObserverDeps } from '../../src/observer/deps.ts'
import type { FlowRun, State } from '../../src/core/flow-run.ts'
import { isFinal } from '../../src/core/flow-run.ts'
import type { Instant, Job, KubernetesEvent, Pod } from '../../src/core/objects.ts'
import type { Proposal, StateProposal } from '../../src/core/proposal.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'
import { createObserverMetrics } from '../../src/observer/metrics.ts'
import type { Observer } from '../../src/observer/observer.ts'
import { createObserver } from '../../src/observer/observer.ts'
import { createOrphanScan } from '../../src/observer/orphans.ts'
import type { Expectation, Recorded, Recording } from '../fixtures/recorded.ts'
import { isDown, nodesOf, pidOf, statesOf, timesOf } from '../core/build/replay.ts'
import { run } from '../core/build/runs.ts'

import type { TestClock } from './test-clock.ts'
import { createTestClock } from './test-clock.ts'

/** Something that a recording tells, and when. */
type Step = { readonly time: Instant } & ({ readonly event: Recorded } | { readonly state: State })

/** What we made of a recording. */
interface Done {
  /** How many watch events had come by then. */
  readonly events: number
  readonly proposal: StateProposal
}

/** A recording that is played to observers: the real one, in a cluster and a Prefect that are in memory. */
export interface Replay {
  readonly proposed: readonly Done[]
  /** The diagnoses that were told, as the notes of Events on the Job. */
  readonly told: readonly string[]
  /** Plays the next steps, up to and including so many watch events. */
  readonly playTo: (events: number) => Promise<void>
  /** Plays what is left, and lets every wait pass. */
  readonly playOut: () => Promise<void>
  /** A new observer leads, which knows what a list tells and no more. */
  readonly lead: () => Promise<void>
  /** Whoever leads is killed, and with it what it knew. */
  readonly kill: () => Promise<void>
}

/** Longer than all waits together: for a report, a heartbeat, a node, a Job, and two scans for orphans. */
const EVERY_WAIT_MS = 1_500_000
const POD_GRACE_MS = 30_000

/** @param lag by how much sooner (negative) Prefect's states came than they were sampled, in milliseconds. */
export function createReplay(recording: Recording, { end }: Expectation, lag = 0): Replay {
  const steps = stepsOf(recording, lag)
  const time = createTestClock(steps[0]?.time ?? 0)
  const cluster = createCluster()
  const prefect = createPrefect({ recording, end, time, cluster })
  const told: string[] = []
  const leaders: Leader[] = []
  let done = 0
  const play = async (step: Step): Promise<void> => {
    await time.advance(Math.max(0, step.time - time.clock.now()))
    if ('state' in step) {
      prefect.happen(step.state)
      return
    }
    cluster.apply(step.event)
    prefect.count()
    for (const { observer } of leaders) tellOf(step.event, observer, cluster)
    await settle(time)
  }
  const playTo = async (events: number): Promise<void> => {
    for (
      let step = steps[done];
      step && !('event' in step && prefect.events() >= events);
      step = steps[done]
    ) {
      done += 1
      await play(step)
    }
  }
  return {
    proposed: prefect.proposed,
    told,
    playTo,
    playOut: async () => {
      await playTo(Infinity)
      await time.advance(POD_GRACE_MS)
      for (const pod of cluster.orphanedPods()) {
        const event: Recorded = { type: 'DELETED', kind: 'Pod', revision: 0, object: pod }
        cluster.apply(event)
        for (const { observer } of leaders) tellOf(event, observer, cluster)
      }
      await time.advance(EVERY_WAIT_MS)
      for (const leader of leaders) await leader.end()
    },
    lead: async () => {
      leaders.push(lead({ time, cluster, prefect, told }))
      await settle(time)
    },
    kill: async () => {
      for (const leader of leaders.splice(0)) await leader.end()
    },
  }
}

const settle = async (time: TestClock): Promise<void> => {
  for (let n = 0; n < 4; n += 1) await time.settle()
}

/** States before watch events of the same moment: Prefect's are sampled, and were there earlier. */
function stepsOf(recording: Recording, lag: number): readonly Step[] {
  const times = timesOf(recording)
  const states = statesOf(recording).map(state => {
    const timestamp = state.timestamp + lag
    return { time: timestamp, state: { ...state, timestamp } }
  })
  const events = recording.watch.map((event, index) => ({ time: times[index] ?? 0, event }))
  return [...states, ...events].toSorted((a, b) => a.time - b.time)
}

type Cluster = ReturnType<typeof createCluster>

const put = <T extends Job | Pod>(objects: Map<string, T>, object: T, type: Recorded['type']): void => {
  if (type === 'DELETED') objects.delete(object.metadata.uid)
  else objects.set(object.metadata.uid, object)
}

/** What an API server holds; annotations of ours stay on a Job whatever the recording says about it next. */
function createCluster() {
  const jobs = new Map<string, Job>()
  const pods = new Map<string, Pod>()
  const events: KubernetesEvent[] = []
  const annotations = new Map<string, Readonly<Record<string, string>>>()
  let newest: Job | undefined
  const annotated = (job: Job): Job => {
    const ours = annotations.get(job.metadata.uid)
    if (!ours) return job
    return { ...job, metadata: { ...job.metadata, annotations: { ...job.metadata.annotations, ...ours } } }
  }
  return {
    jobs: () => [...jobs.values()].map(annotated),
    pods: () => [...pods.values()],
    events: () => events,
    newest: () => newest,
    annotated,
    apply: ({ kind, type, object }: Recorded) => {
      if (kind === 'Event') events.push(object)
      else if (kind === 'Pod') put(pods, object, type)
      else {
        newest = object
        put(jobs, object, type)
      }
    },
    annotate: (uid: string, ours: Readonly<Record<string, string>>) => annotations.set(uid, ours),
    /** Those whose Job was deleted: the garbage collector removes them, after the recording's end. */
    orphanedPods: () =>
      [...pods.values()].filter(({ metadata }) =>
        metadata.ownerReferences.every(({ kind, uid }) => kind === 'Job' && !jobs.has(uid)),
      ),
  }
}

type Prefect = ReturnType<typeof createPrefect>

interface PrefectParts {
  readonly recording: Recording
  readonly end: Expectation['end']
  readonly time: TestClock
  readonly cluster: Cluster
}

/** A run with its history, as it was recorded; what we propose comes into it. Prefect's own rules are tested on the real one. */
function createPrefect({ recording, end, time, cluster }: PrefectParts) {
  const states: State[] = []
  const proposed: Done[] = []
  let events = 0
  const { clock } = time
  const answer = <T>(value: T): Promise<T> =>
    isDown(recording, clock.now()) ? Promise.reject(new Error('503')) : Promise.resolve(value)
  const current = (): FlowRun | undefined => {
    const state = states.at(-1)
    if (!state) return undefined
    const job = cluster.newest()
    const pid = job && pidOf({ job })
    const found = run({
      names: null,
      ...(pid !== undefined && { infrastructurePid: pid }),
      isTopLevel: end === 'not ours',
      runCount: states.filter(({ type }) => type === 'RUNNING').length,
      retries: end === 'retried' ? 1 : 0,
    })
    return { ...found, state }
  }
  const take = (proposal: StateProposal): Proposal => {
    const before = states.at(-1)
    if (before && isFinal(before)) return { kind: 'aborted', reason: 'the run is final' }
    proposed.push({ events, proposal })
    const { name = proposal.type } = proposal
    const state: State = { ...proposal, name, id: `ours-${proposed.length}`, timestamp: clock.now() }
    states.push(state)
    return { kind: 'accepted', state }
  }
  return {
    proposed,
    events: () => events,
    count: () => {
      events += 1
    },
    happen: (state: State) => states.push(state),
    current,
    readFlowRun: () => answer(current()),
    readStates: () => answer([...states]),
    proposeState: (_id: string, proposal: StateProposal) => answer(proposal).then(take),
    answer,
  }
}

interface Leader {
  readonly observer: Observer
  readonly end: () => Promise<void>
}

interface Surroundings {
  readonly time: TestClock
  readonly cluster: Cluster
  readonly prefect: Prefect
  readonly told: string[]
}

/** All that a watch holds is the one run's. */
const watched = <T>(list: () => readonly T[]) => ({ list, byIndex: list })

/** Starts the real thing, with its scan for orphans. */
function lead({ time, cluster, prefect, told }: Surroundings): Leader {
  const { clock } = time
  const logger = pino({ level: 'silent' })
  const metrics = createObserverMetrics(new Registry())
  const settings = { ...DEFAULT_SETTINGS, failureState: 'crashed', workPools: ['kubernetes'] } as const
  const deps: ObserverDeps = {
    jobs: () => watched(cluster.jobs),
    pods: () => watched(cluster.pods),
    reads: {
      jobsOf: async () => cluster.jobs(),
      podsOf: async () => cluster.pods(),
      job: async (_namespace, name) => cluster.jobs().find(({ metadata }) => metadata.name === name),
      pod: async (_namespace, name) => cluster.pods().find(({ metadata }) => metadata.name === name),
      nodes: async names =>
        new Map(
          nodesOf(cluster.pods().map(pod => ({ pod })))
            .filter(({ name }) => names.includes(name))
            .map(node => [node.name, node]),
        ),
      eventsOf: async (_namespace, uids) =>
        cluster.events().filter(({ regarding }) => uids.includes(regarding.uid)),
      readFlowRun: prefect.readFlowRun,
      readStates: prefect.readStates,
      lastHeartbeat: () => prefect.answer(undefined),
    },
    acts: {
      readFlowRun: prefect.readFlowRun,
      readStates: prefect.readStates,
      proposeState: prefect.proposeState,
      inProcessSubflowsOf: () => prefect.answer([]),
      setRetryType: () => prefect.answer(true),
      suspendJob: async () => 'applied',
    },
    annotateJob: async ({ uid }, annotations) => cluster.annotate(uid, annotations),
    recordEvent: async ({ note }) => told.push(note),
    podLogTail: async () => undefined,
    outbox: { log: () => {}, event: () => {}, waiting: () => 0, run: async () => {} },
    settings,
    logger,
    metrics,
    clock,
  }
  const observer = createObserver(deps)
  const scan = createOrphanScan({
    liveSubflowRuns: async function* () {
      const found = await prefect.readFlowRun()
      if (found && !isFinal(found.state) && found.parentTaskRunId !== undefined) yield found
    },
    isKnown: observer.isAlive,
    enqueue: observer.lookAt,
    workPools: settings.workPools,
    youngMs: settings.graces.orphan,
    everyMs: 300_000,
    logger,
    metrics,
    clock,
  })
  const stop = new AbortController()
  const work = [observer.lead(stop.signal), scan.run(stop.signal)]
  return {
    observer,
    end: async () => {
      stop.abort(new Error('killed'))
      await settle(time)
      await Promise.allSettled(work)
    },
  }
}

/** What a watch would say of it. */
function tellOf({ kind, type, object }: Recorded, observer: Observer, cluster: Cluster): void {
  const change = { ADDED: 'added', MODIFIED: 'modified', DELETED: 'deleted' } as const
  if (kind === 'Pod') observer.podChanged({ type: change[type], object })
  else if (kind === 'Job') observer.jobChanged({ type: change[type], object: cluster.annotated(object) })
}
