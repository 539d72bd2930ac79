import t from 'tap'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'
import type { VerdictSettings } from '../../src/core/settings.ts'
import type { FlowRun } from '../../src/core/flow-run.ts'
import type { JobFact } from '../../src/core/facts.ts'
import { DEAD_PODS, VERDICT } from '../../src/observer/annotations.ts'
import type { Seen } from '../../src/observer/reads.ts'
import type { ReconcileDeps } from '../../src/observer/reconcile.ts'
import { reconcile } from '../../src/observer/reconcile.ts'
import { at, job, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run, state } from '../core/build/runs.ts'
import { createActs, createHistory, createLog, JOB_UID, signal } from './scene.ts'

const DEAD_JOB = job({ uid: JOB_UID, failed: 'BackoffLimitExceeded' })
const OOM = pod({ of: JOB_UID, oom: true })
const DEAD: Seen = { jobs: [DEAD_JOB], pods: [OOM] }

interface Options {
  readonly seen?: Seen
  readonly flowRun?: FlowRun | Error
  readonly settings?: Partial<VerdictSettings>
  readonly annotateJob?: ReconcileDeps['annotateJob']
  readonly history?: ReturnType<typeof createHistory>
}

/** A run in a cluster, to be looked at as often as one likes. */
function createWorld({ seen = DEAD, flowRun = run(), settings, annotateJob, history }: Options = {}) {
  const world = { seen, flowRun }
  const asked: string[] = []
  const annotated: Readonly<Record<string, string>>[] = []
  const verdicts: string[] = []
  const settled = new Map<string, string>()
  const { logger, lines } = createLog()
  const scene = createActs({}, history)
  const deps: ReconcileDeps = {
    reads: {
      now: () => at(60),
      seen: () => world.seen,
      jobsOf: async () => {
        asked.push('jobs')
        return world.seen.jobs.flatMap(({ job, gone }) => (gone ? [] : [job]))
      },
      podsOf: async () => world.seen.pods.map(({ pod }) => pod),
      job: async () => undefined,
      pod: async () => undefined,
      nodes: async () => new Map(),
      eventsOf: async () => [],
      readFlowRun: async () => {
        asked.push('run')
        if (world.flowRun instanceof Error) throw world.flowRun
        return world.flowRun
      },
      readStates: async () => [],
      lastHeartbeat: async () => undefined,
    },
    acts: scene.acts,
    settings: { ...DEFAULT_SETTINGS, failureState: 'crashed', ...settings },
    logger,
    annotateJob: async (job, annotations, signal) => {
      annotated.push(annotations)
      await annotateJob?.(job, annotations, signal)
    },
    settled,
    refusals: new Map<string, number>(),
    onVerdict: ({ decision: { verdict } }) => verdicts.push(`${verdict.kind} ${verdict.reason}`),
  }
  const look = () => reconcile(FLOW_RUN_ID, deps, signal)
  return { world, look, deps, annotated, verdicts, settled, lines, ...scene, requests: asked }
}

t.test('a death is looked at, carried out, and then costs nothing', async t => {
  const { look, requests, verdicts, stories } = createWorld()
  t.strictSame(await look(), {})
  t.strictSame(verdicts, ['crash JobFailed'])
  t.equal(stories.length, 1)
  const before = requests.length
  for (let n = 0; n < 5; n += 1) t.strictSame(await look(), {})
  t.equal(requests.length, before, 'no request')
  t.equal(verdicts.length, 1, 'no verdict')
})

t.test('what settles a death', async t => {
  const reporting = { settings: { failureState: 'report' } } as const
  const cases: Readonly<Record<string, { options: Options; settles: boolean }>> = {
    'it was crashed': { options: {}, settles: true },
    'it is final already': { options: { flowRun: run({ state: 'Completed@40' }) }, settles: true },
    'it is reported': { options: reporting, settles: true },
    'it gets a new attempt: that has to be looked at': {
      options: { flowRun: run({ retries: 3 }) },
      settles: false,
    },
    'it is to be looked at again': { options: { flowRun: run({ state: 'Running@58' }) }, settles: false },
    'it lives': { options: { seen: { jobs: [job()], pods: [pod()] } }, settles: false },
    'nothing of it was ever seen': { options: { seen: { jobs: [], pods: [] } }, settles: false },
    'somebody was faster': {
      options: {
        history: createHistory(run().state, { answer: () => ({ kind: 'aborted', reason: 'terminal' }) }),
      },
      settles: false,
    },
  }
  for (const [sentence, { options, settles }] of Object.entries(cases)) {
    const { look, settled } = createWorld(options)
    await look()
    t.equal(settled.size > 0, settles, sentence)
  }
})

t.test('what wakes a settled death', async t => {
  const second = job({
    name: 'second',
    uid: FLOW_RUN_ID,
    created: 50,
    failed: 'BackoffLimitExceeded',
    ended: 58,
  })
  const cases: Readonly<Record<string, { seen: Seen; wakes: boolean }>> = {
    'nothing new': { seen: DEAD, wakes: false },
    'a new Job that lives': {
      seen: { ...DEAD, jobs: [DEAD_JOB, job({ name: 'second', created: 50 })] },
      wakes: true,
    },
    'a new Job that died, too': { seen: { ...DEAD, jobs: [DEAD_JOB, second] }, wakes: true },
    'a pod more': {
      seen: { ...DEAD, pods: [OOM, pod({ of: JOB_UID, name: 'late', exitCode: 1 })] },
      wakes: true,
    },
  }
  for (const [sentence, { seen, wakes }] of Object.entries(cases)) {
    const { look, world, verdicts } = createWorld()
    await look()
    world.seen = seen
    await look()
    t.equal(verdicts.length > 1, wakes, sentence)
  }
})

t.test('trouble that keeps us from a verdict is thrown, for the queue to come back', async t => {
  const { look, world, settled, stories } = createWorld({ flowRun: new Error('503') })
  await t.rejects(look(), { message: '503' })
  t.equal(settled.size, 0)
  world.flowRun = run()
  t.strictSame(await look(), {})
  t.equal(stories.length, 1)
})

t.test('trouble that a verdict can do without is none', async t => {
  const { look, deps, verdicts } = createWorld({ seen: { jobs: [DEAD_JOB], pods: [] } })
  const reads = { ...deps.reads, eventsOf: () => Promise.reject(new Error('403')) }
  await reconcile(FLOW_RUN_ID, { ...deps, reads }, signal)
  t.strictSame(verdicts, ['crash JobFailed'])
  await look()
})

t.test('a leader that has to stop does not act any more', async t => {
  const stop = new AbortController()
  const { deps, proposals } = createWorld()
  const reads = {
    ...deps.reads,
    podsOf: async () => {
      stop.abort(new Error('no longer leading'))
      return [OOM.pod]
    },
  }
  await t.rejects(reconcile(FLOW_RUN_ID, { ...deps, reads }, stop.signal), { message: 'no longer leading' })
  t.strictSame(proposals, [])
})

const annotatedWith = (fact: JobFact, annotations: Readonly<Record<string, string>>): JobFact => ({
  job: { ...fact.job, metadata: { ...fact.job.metadata, annotations } },
})

t.test('how pods failed is written down while their Job goes on', async t => {
  const retrying = job({ uid: JOB_UID, spec: { backoffLimit: 3 } })
  const seen: Seen = { jobs: [retrying], pods: [OOM, pod({ of: JOB_UID, name: 'etl-b' })] }

  const first = createWorld({ seen })
  await first.look()
  t.match(first.annotated, [{ [DEAD_PODS]: /OOMKilled/ }], 'once')
  t.strictSame(first.requests, [], 'without a request to Prefect')

  const memory = first.annotated[0]?.[DEAD_PODS] ?? ''
  const others = { [VERDICT]: 'reported', 'prefect.io/other': 'theirs' }
  first.world.seen = { ...seen, jobs: [annotatedWith(retrying, { [DEAD_PODS]: memory, ...others })] }
  await first.look()
  t.equal(first.annotated.length, 1, 'not again, once the watch has brought it')

  first.world.seen = {
    jobs: [annotatedWith(retrying, { [DEAD_PODS]: memory, ...others })],
    pods: [...seen.pods, pod({ of: JOB_UID, name: 'etl-c', exitCode: 3, created: 9 })],
  }
  await first.look()
  t.match(
    first.annotated[1],
    { [DEAD_PODS]: /etl-c/, [VERDICT]: 'reported' },
    'our other ones stay in the set',
  )
  t.notOk('prefect.io/other' in (first.annotated[1] ?? {}), 'other people’s do not come into it')

  const healthy = createWorld({ seen: { jobs: [job()], pods: [pod()] } })
  await healthy.look()
  t.strictSame(healthy.annotated, [], 'a healthy run costs no write')

  const gone = createWorld({
    seen: { jobs: [{ ...DEAD_JOB, gone: { at: at(40), finalStateUnknown: false } }], pods: [OOM] },
  })
  await gone.look()
  t.strictSame(gone.annotated, [], 'there is nothing to write on once the Job is gone')
})

const annotateJob = () => Promise.reject(new Error('503'))

t.test('that it could not be written down holds no verdict up, and is tried again by the queue', async t => {
  const failure = { message: 'writing down on Job team/etl how a pod of it ended', cause: { message: '503' } }
  const dead = createWorld({ annotateJob })
  await t.rejects(dead.look(), failure)
  t.strictSame(dead.verdicts, ['crash JobFailed'])
  t.equal(dead.settled.size, 0)

  const retrying: Seen = { jobs: [job({ uid: JOB_UID })], pods: [OOM, pod({ of: JOB_UID, name: 'etl-b' })] }
  await t.rejects(createWorld({ annotateJob, seen: retrying }).look(), failure, 'a run that lives')
  const waiting = createWorld({ annotateJob, flowRun: run({ state: 'Running@58' }) })
  t.match(await waiting.look(), { afterMs: 398_000 }, 'a run that is looked at again anyway')
})

t.test('what Prefect refuses is proposed again ever later, an hour at most', async t => {
  const answer = { kind: 'aborted', reason: 'no concurrency slot' } as const
  let isRefused = true
  const history = createHistory(run().state, { answer: () => (isRefused ? answer : undefined) })
  const { look, deps, lines } = createWorld({ history })
  const waits: (number | undefined)[] = []
  for (let n = 0; n < 9; n += 1) waits.push((await look()).afterMs)
  t.strictSame(
    waits.map(ms => (ms ?? 0) / 1000),
    [30, 60, 120, 240, 480, 960, 1920, 3600, 3600],
  )
  t.match(lines.at(-1), { flowRunId: FLOW_RUN_ID, times: 9, retryInMs: 3_600_000, msg: /^Prefect refuses/ })
  isRefused = false
  t.strictSame(await look(), {})
  t.equal(deps.refusals.get(FLOW_RUN_ID), undefined, 'and then it is forgotten')
})

t.test('a run that is Scheduled is left to its worker', async t => {
  const { look, proposals } = createWorld({ flowRun: { ...run(), state: state('Scheduled@50') } })
  await look()
  t.strictSame(proposals, [])
})
