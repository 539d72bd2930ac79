import * as fc from 'fast-check'
import type { JobFact, PodFact } from '../../../src/core/facts.ts'
import type { FlowRun, State } from '../../../src/core/flow-run.ts'
import type { Node } from '../../../src/core/objects.ts'
import type { VerdictSettings } from '../../../src/core/settings.ts'
import type { Going, JobParts } from './objects.ts'
import { job, node, pod } from './objects.ts'
import type { StateName } from './runs.ts'
import { run, state, STATES } from './runs.ts'
import type { World } from './world.ts'

/**
 * Arbitrary worlds: mixtures of Jobs, pods and tombstones of several attempts. Everything happens between a minute
 * before noon and a minute after; decisions are taken later.
 */

const seconds = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max })

const going: fc.Arbitrary<Going> = fc.oneof(
  seconds(0, 60),
  seconds(0, 60).map(unseen => ({ unseen })),
)

const name = fc.constantFrom('etl', 'etl-1', 'etl-2')

const ended: fc.Arbitrary<JobParts> = fc.oneof(
  fc.record({
    failed: fc.constantFrom('BackoffLimitExceeded', 'DeadlineExceeded', 'PodFailurePolicy', 'FailedIndexes'),
  }),
  fc.constant({ complete: true }),
)

const jobBase = fc.record({ created: seconds(-60, 30), ended: seconds(0, 60), name })

/** Jobs that have ended, are gone, or both. No two have the same UID; names do come again. */
const deadJobs: fc.Arbitrary<readonly JobFact[]> = fc
  .array(
    fc.oneof(
      fc.tuple(jobBase, ended),
      fc.tuple(jobBase, ended, going),
      fc.tuple(
        jobBase,
        fc.constantFrom<JobParts>({}, { suspended: true }, { failureTarget: 'DeadlineExceeded' }),
        going,
      ),
    ),
    { maxLength: 4 },
  )
  .map(parts =>
    parts.map(([base, end, gone], index) => {
      const going: Partial<JobParts> = gone === undefined ? {} : { gone }
      return job({ ...base, ...end, ...going, uid: `job-${index}` })
    }),
  )

const owner = fc.constantFrom('job-0', 'job-1', 'job-2', 'somebody-elses', null)

const podBase = fc.record({ created: seconds(-60, 30), of: owner })

/** Pods that ended, went, or both. */
const deadPods: fc.Arbitrary<readonly PodFact[]> = fc
  .array(
    fc.oneof(
      fc.tuple(
        podBase,
        fc.record({ exitCode: fc.constantFrom(0, 1, 137, 143) }),
        fc.option(going, { nil: undefined }),
      ),
      fc.tuple(podBase, fc.record({ oom: fc.constant(true) }), fc.option(going, { nil: undefined })),
      fc.tuple(podBase, fc.constantFrom({}, { unstarted: true }, { waiting: 'ImagePullBackOff' }), going),
    ),
    { maxLength: 4 },
  )
  .map(parts =>
    parts.map(([base, end, gone], index) =>
      pod({ ...base, ...end, ...(gone !== undefined && { gone }), name: `pod-${index}` }),
    ),
  )

/** A pod that should have ended long ago, on a node that is not there to say so. */
const strandedPods: fc.Arbitrary<readonly PodFact[]> = fc
  .array(fc.record({ of: owner, due: seconds(10, 60) }), { maxLength: 2 })
  .map(parts => parts.map((part, index) => pod({ ...part, name: `stranded-${index}`, on: 'lost' })))

/** What is left of a Job whose node was lost: `FailureTarget`, and a pod that nobody ends. */
const lostJob = fc.record({ created: seconds(-60, 30), due: seconds(10, 60) }).map(({ created, due }) => ({
  jobs: [job({ uid: 'lost', created, failureTarget: 'BackoffLimitExceeded' })],
  pods: [pod({ name: 'lost', of: 'lost', on: 'lost', due })],
}))

const nodes: fc.Arbitrary<readonly Node[]> = fc.constantFrom(
  [node('node-1')],
  [node('node-1'), node('lost', 40)],
)

/** Everything of a run that is dead, in whatever way, or was never there. */
const deadCluster: fc.Arbitrary<Cluster & { readonly nodes: readonly Node[] }> = fc
  .record({
    jobs: deadJobs,
    pods: deadPods,
    stranded: strandedPods,
    nodes,
    lost: fc.option(lostJob, { nil: undefined }),
  })
  .map(({ jobs, pods, stranded, nodes, lost }) => ({
    jobs: [...jobs, ...(lost?.jobs ?? [])],
    pods: [...pods, ...stranded, ...(lost?.pods ?? [])],
    nodes,
  }))

/** A world's Jobs and pods, both known. */
export interface Cluster {
  readonly jobs: readonly JobFact[]
  readonly pods: readonly PodFact[]
}

/** A Job that is at work, with or without a pod that runs. */
export const liveJob: fc.Arbitrary<Cluster> = fc
  .record({ created: seconds(-90, 60), hasPod: fc.boolean(), failureTarget: fc.boolean() })
  .map(({ created, hasPod, failureTarget }) => ({
    jobs: [job({ uid: 'live', created, ...(failureTarget && { failureTarget: 'DeadlineExceeded' }) })],
    pods: hasPod ? [pod({ name: 'live', of: 'live' })] : [],
  }))

/** A pod that runs or ends, whatever has become of its Job. */
export const livePod: fc.Arbitrary<Cluster> = fc
  .record({
    of: owner,
    phase: fc.constantFrom('Running', 'Unknown'),
    due: fc.option(seconds(100_000, 100_001), { nil: undefined }),
  })
  .map(({ of, phase, due }) => ({
    jobs: [],
    pods: [pod({ name: 'live', of, phase, ...(due !== undefined && { due }) })],
  }))

const stateNames = Object.keys(STATES).filter((text): text is StateName => Object.hasOwn(STATES, text))

/** A state by one of these names. */
const stateNamed = (names: readonly StateName[] = stateNames): fc.Arbitrary<State> =>
  fc.tuple(fc.constantFrom(...names), seconds(-30, 70)).map(([text, time]) => state(`${text}@${time}`))

/** A subflow run in one of these states. */
const runIn = (names: readonly StateName[] = stateNames): fc.Arbitrary<FlowRun> =>
  fc
    .record(
      {
        state: stateNamed(names),
        names: fc.constantFrom('etl', 'etl-1', 'unheard-of', null),
        hasDeployment: fc.boolean(),
        runCount: fc.nat({ max: 4 }),
        retries: fc.nat({ max: 4 }),
        retryType: fc.constantFrom('in_process' as const, 'reschedule' as const),
      },
      { requiredKeys: ['state', 'names', 'hasDeployment', 'runCount'] },
    )
    .map(({ state: current, ...parts }) => inState(run(parts), current))

const inState = (found: FlowRun, current: State): FlowRun => ({ ...found, state: current })

/** A state history that a run may have had, oldest first. */
export const history: fc.Arbitrary<readonly State[]> = fc
  .array(stateNamed(['Scheduled', 'Pending', 'Running', 'AwaitingRetry', 'Submitting']), { maxLength: 8 })
  .map(states => states.toSorted((a, b) => a.timestamp - b.timestamp))

/** Settings that act as much as settings can. */
const settings: fc.Arbitrary<Partial<VerdictSettings>> = fc.record({
  failureState: fc.constantFrom('crashed', 'failed'),
  honourRetries: fc.boolean(),
  stuckStart: fc.constantFrom('report', 'crash', 'crash-and-suspend'),
  workPools: fc.constantFrom([], ['kubernetes']),
})

/** What Prefect and the API server answer, and when it is looked at: soon, or when every wait is long over. */
const answers = fc.record(
  {
    states: history,
    heartbeat: seconds(-60, 60),
    now: fc.oneof(seconds(61, 1000), fc.constant(50_000)),
    settings,
  },
  { requiredKeys: ['states', 'now', 'settings'] },
)

/** A world in which everything about the cluster and the run is known. */
export interface DeadWorld extends Omit<World, 'jobs' | 'pods' | 'run' | 'now'>, Cluster {
  readonly run: FlowRun
  readonly now: number
}

/** A run, in one of these states, of which everything in the cluster is dead. */
export const deadWorld = (names?: readonly StateName[]): fc.Arbitrary<DeadWorld> =>
  fc.tuple(deadCluster, answers, runIn(names)).map(([cluster, rest, found]) => worldOf(cluster, rest, found))

const worldOf = (
  cluster: Cluster,
  rest: Omit<DeadWorld, 'run' | keyof Cluster>,
  found: FlowRun,
): DeadWorld => ({
  ...rest,
  ...cluster,
  run: found,
})
