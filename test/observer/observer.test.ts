import { Registry } from 'prom-client'
import t from 'tap'
import type { JobFact, PodFact } from '../../src/core/facts.ts'
import type { FlowRun } from '../../src/core/flow-run.ts'
import { FLOW_RUN_ID_LABEL } from '../../src/core/names.ts'
import type { Job, Pod } from '../../src/core/objects.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'
import type { VerdictSettings } from '../../src/core/settings.ts'
import { createObserverMetrics } from '../../src/observer/metrics.ts'
import type { ObserverDeps } from '../../src/observer/deps.ts'
import { createObserver } from '../../src/observer/observer.ts'
import { at, job, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run, state } from '../core/build/runs.ts'
import { createActs, createHistory, createLog, JOB_UID } from './scene.ts'
import { createTestClock } from './test-clock.ts'

const labelled = <T extends Job | Pod>(object: T, label = FLOW_RUN_ID): T => ({
  ...object,
  metadata: { ...object.metadata, labels: { [FLOW_RUN_ID_LABEL]: label } },
})

const jobOf = ({ job }: JobFact, label?: string): Job => labelled(job, label)
const podOf = ({ pod }: PodFact, label?: string): Pod => labelled(pod, label)

const DEAD_JOB = job({ uid: JOB_UID, failed: 'BackoffLimitExceeded' })
const OOM = pod({ of: JOB_UID, oom: true })

interface Options {
  readonly jobs?: readonly Job[]
  readonly pods?: readonly Pod[]
  readonly flowRun?: FlowRun
  readonly settings?: Partial<VerdictSettings>
  readonly history?: ReturnType<typeof createHistory>
}

const watched = <T extends Job | Pod>(objects: () => readonly T[]) => ({
  list: objects,
  byIndex: (id: string) => objects().filter(({ metadata }) => metadata.labels[FLOW_RUN_ID_LABEL] === id),
})

/** An observer with a watch that holds these objects; whoever is looked at is asked about in `read`. */
function createScene({
  jobs = [],
  pods = [],
  flowRun = run(),
  settings,
  history = createHistory(),
}: Options = {}) {
  const time = createTestClock(at(60))
  const registry = new Registry()
  const { logger, lines } = createLog()
  const { acts, proposals } = createActs({}, history)
  const cluster = { jobs, pods }
  const read: string[] = []
  const told: string[] = []
  let trouble: Error | undefined
  const deps: ObserverDeps = {
    jobs: () => watched(() => cluster.jobs),
    pods: () => watched(() => cluster.pods),
    reads: {
      jobsOf: async () => cluster.jobs,
      podsOf: async () => cluster.pods,
      job: async () => undefined,
      pod: async () => undefined,
      nodes: async () => new Map(),
      eventsOf: async () => [],
      readFlowRun: async id => {
        read.push(id)
        if (trouble) throw trouble
        return flowRun
      },
      readStates: async () => [],
      lastHeartbeat: async () => undefined,
    },
    acts,
    annotateJob: async () => {},
    recordEvent: async ({ reason }) => told.push(reason),
    podLogTail: async () => undefined,
    outbox: { log: () => {}, event: () => {}, waiting: () => 0, run: async () => {} },
    settings: { ...DEFAULT_SETTINGS, failureState: 'crashed', ...settings },
    logger,
    metrics: createObserverMetrics(registry),
    clock: time.clock,
  }
  const observer = createObserver(deps)
  /** Each look at a run is a dozen requests, one after the other. */
  const settle = async (): Promise<void> => {
    for (let n = 0; n < 20; n += 1) await time.settle()
  }
  const lead = async () => {
    const stop = new AbortController()
    const leading = observer.lead(stop.signal)
    await settle()
    return {
      end: async () => {
        stop.abort(new Error('no longer leading'))
        await settle()
        await leading
      },
    }
  }
  const advance = async (ms: number): Promise<void> => {
    await time.advance(ms)
    await settle()
  }
  const figures = async (name: string): Promise<readonly { labels: object; value: number }[]> =>
    (await registry.getSingleMetric(name)?.get())?.values ?? []
  const fail = (error: Error | undefined): void => {
    trouble = error
  }
  return { settle, advance, observer, lead, cluster, read, told, lines, proposals, figures, fail }
}

const DEAD = { jobs: [jobOf(DEAD_JOB)], pods: [podOf(OOM)] }

t.test('a new leader looks at every run there is', async t => {
  const scene = createScene(DEAD)
  const { end } = await scene.lead()
  t.strictSame(scene.read, [FLOW_RUN_ID])
  t.strictSame(scene.told, ['FlowRunCrashed'])
  await end()
})

t.test('whoever does not lead does nothing, and keeps nothing for later', async t => {
  const scene = createScene(DEAD)
  scene.observer.jobChanged({ type: 'modified', object: jobOf(DEAD_JOB) })
  scene.observer.podChanged({ type: 'modified', object: podOf(OOM) })
  await scene.advance(60_000)
  t.strictSame(scene.read, [])
  t.equal(scene.observer.oldestAgeMs(), 0)
  const { end } = await scene.lead()
  await end()
  const before = scene.read.length
  scene.observer.jobChanged({ type: 'modified', object: jobOf(DEAD_JOB) })
  await scene.advance(60_000)
  t.equal(scene.read.length, before, 'nor after it has led')
  scene.cluster.jobs = []
  scene.cluster.pods = []
  const again = await scene.lead()
  t.equal(scene.read.length, before, 'nor when it leads again')
  await again.end()
})

t.test('an event about a Job or a pod has its run looked at', async t => {
  const scene = createScene({ jobs: [jobOf(job({ uid: JOB_UID }))], pods: [podOf(pod({ of: JOB_UID }))] })
  const { end } = await scene.lead()
  t.strictSame(scene.read, [], 'it lives')
  scene.cluster.jobs = DEAD.jobs
  scene.cluster.pods = DEAD.pods
  scene.observer.podChanged({ type: 'modified', object: podOf(OOM) })
  scene.observer.jobChanged({ type: 'modified', object: jobOf(DEAD_JOB) })
  await scene.settle()
  t.strictSame(scene.read, [FLOW_RUN_ID], 'once for both')
  t.strictSame(scene.told, ['FlowRunCrashed'])
  await end()
})

t.test('a label that is no UUID names no flow run', async t => {
  for (const label of ['', 'not-a-uuid', FLOW_RUN_ID.toUpperCase()]) {
    const scene = createScene({ jobs: [jobOf(DEAD_JOB, label)], pods: [podOf(OOM, label)] })
    const { end } = await scene.lead()
    scene.observer.jobChanged({ type: 'modified', object: jobOf(DEAD_JOB, label) })
    await scene.settle()
    t.strictSame(scene.read, [], `'${label}'`)
    await end()
  }
})

t.test('a Job that went away while another replica led is remembered', async t => {
  const scene = createScene()
  scene.observer.jobChanged({ type: 'deleted', object: jobOf(job({ uid: JOB_UID })) })
  t.notOk(scene.observer.isAlive(FLOW_RUN_ID))
  const { end } = await scene.lead()
  scene.observer.lookAt(FLOW_RUN_ID)
  await scene.advance(60_000)
  t.strictSame(
    scene.proposals.map(({ type }) => type),
    ['CRASHED'],
  )
  await end()
})

t.test('alive is what the watch holds that may still move the run', t => {
  t.ok(createScene({ jobs: [jobOf(job())] }).observer.isAlive(FLOW_RUN_ID))
  t.ok(
    createScene({ pods: [podOf(pod({ due: 10 }))] }).observer.isAlive(FLOW_RUN_ID),
    'on a node that may be lost',
  )
  t.notOk(createScene(DEAD).observer.isAlive(FLOW_RUN_ID))
  t.notOk(createScene().observer.isAlive(FLOW_RUN_ID))
  t.end()
})

t.test('a death that is settled is looked at again only when somebody insists', async t => {
  const scene = createScene(DEAD)
  const { end } = await scene.lead()
  scene.observer.jobChanged({ type: 'modified', object: jobOf(DEAD_JOB) })
  await scene.settle()
  t.equal(scene.read.length, 1)
  scene.observer.lookAt(FLOW_RUN_ID)
  await scene.settle()
  t.equal(scene.read.length, 2)
  t.strictSame(scene.told, ['FlowRunCrashed'], 'and is not told again')
  await end()
})

t.test('trouble is logged, counted and repeated', async t => {
  const scene = createScene(DEAD)
  scene.fail(new Error('503'))
  const { end } = await scene.lead()
  t.match(
    scene.lines.filter(({ level }) => level === 40),
    [
      {
        msg: 'could not look at a flow run, will try again',
        flowRunId: FLOW_RUN_ID,
        err: { message: '503' },
      },
    ],
  )
  scene.fail(undefined)
  await scene.advance(10_000)
  t.strictSame(scene.told, ['FlowRunCrashed'])
  t.match(await scene.figures('controller_runtime_reconcile_total'), [
    { labels: { result: 'error' }, value: 1 },
    { labels: { result: 'success' }, value: 1 },
  ])
  await end()
})

t.test('a wait is a wait', async t => {
  const scene = createScene({ ...DEAD, flowRun: run({ state: 'Running@50' }) })
  const { end } = await scene.lead()
  t.match(await scene.figures('controller_runtime_reconcile_total'), [
    { labels: { result: 'requeue_after' }, value: 1 },
  ])
  const before = scene.read.length
  await scene.advance(400_000)
  t.ok(scene.read.length > before, 'and then it is looked at again')
  await end()
})

const measure = async (options: Options) => {
  const scene = createScene(options)
  const { end } = await scene.lead()
  await end()
  const [reaction] = await scene.figures('lifeguard_reaction_seconds')
  return {
    deaths: await scene.figures('lifeguard_deaths_total'),
    writes: await scene.figures('lifeguard_prefect_writes_total'),
    repairs: (await scene.figures('lifeguard_repairs_total'))[0]?.value,
    verdicts: await scene.figures('lifeguard_verdicts_total'),
    isReactionMeasured:
      reaction !== undefined &&
      (await scene.figures('lifeguard_reaction_seconds')).some(({ value }) => value > 0),
    lines: scene.lines,
  }
}

t.test('what is measured', async t => {
  t.match(
    await measure(DEAD),
    {
      deaths: [{ labels: { code: 'oom_killed' }, value: 1 }],
      writes: [{ labels: { state: 'CRASHED', answer: 'moved' }, value: 1 }],
      repairs: 0,
      verdicts: [{ labels: { kind: 'crash', reason: 'JobFailed' }, value: 1 }],
      isReactionMeasured: true,
    },
    'a death',
  )
  const reported = await measure({ ...DEAD, settings: { failureState: 'report' } })
  t.match(reported.deaths, [{ labels: { code: 'oom_killed' }, value: 1 }], 'a death that is only reported')
  t.strictSame([reported.writes, reported.isReactionMeasured], [[], false], 'and nothing moves')
  const pulling = {
    jobs: [jobOf(job({ uid: JOB_UID }))],
    pods: [podOf(pod({ of: JOB_UID, waiting: 'ImagePullBackOff' }))],
  }
  const stuck = await measure(pulling)
  t.strictSame([stuck.deaths, stuck.isReactionMeasured], [[], false], 'a stuck start is no death')
  t.match(stuck.verdicts, [{ labels: { kind: 'report', reason: 'StartIsStuck' } }])

  const history = createHistory(run().state, {
    before: (_proposal, n) => {
      if (n === 1) history.push(state('Running@50'))
    },
  })
  const overtaken = await measure({ ...DEAD, history })
  t.match(overtaken, { repairs: 1, writes: [{ labels: { answer: 'overtaken' } }] }, 'a race')
  t.strictSame(overtaken.deaths, [], 'a race is no death')
  t.match(
    overtaken.lines.filter(({ level }) => level === 40),
    [
      {
        msg: 'the run was moved by somebody else, or Prefect said no',
        flowRunId: FLOW_RUN_ID,
        isRestored: true,
      },
    ],
    'it is logged',
  )

  const aborted = { kind: 'aborted', reason: 'Run is already in terminal state COMPLETED.' } as const
  t.match(
    await measure({ ...DEAD, history: createHistory(run().state, { answer: () => aborted }) }),
    {
      writes: [{ labels: { state: 'CRASHED', answer: 'aborted' }, value: 1 }],
      repairs: 0,
    },
    'a refusal',
  )
})
