import t from 'tap'
import type { PodFact } from '../../src/core/facts.ts'
import type { Diagnosis } from '../../src/core/diagnosis/diagnosis.ts'
import { DEAD_PODS, DIAGNOSIS, TRAIL, VERDICT } from '../../src/observer/annotations.ts'
import type { RunEvent, RunLog } from '../../src/observer/outbox.ts'
import { signatureOf } from '../../src/observer/story.ts'
import type { JobEvent, Tells } from '../../src/observer/tell.ts'
import { tell } from '../../src/observer/tell.ts'
import { at, job, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run } from '../core/build/runs.ts'
import { cancel, crash, createLog, JOB, JOB_UID, newAttempt, OOM, report, signal, storyOf } from './scene.ts'

/** All places, and what was told there. */
function createPlaces(parts: Partial<Tells> = {}) {
  const { logger, lines } = createLog()
  const logs: RunLog[] = []
  const events: RunEvent[] = []
  const jobEvents: JobEvent[] = []
  const annotations: Readonly<Record<string, string>>[] = []
  const counted: string[] = []
  const told = new Set<string>()
  const tells: Tells = {
    now: () => at(61),
    logger,
    outbox: {
      log: entry => logs.push(entry),
      event: event => events.push(event),
      waiting: () => 0,
      run: async () => {},
    },
    recordEvent: async event => jobEvents.push(event),
    annotateJob: async (_job, set) => annotations.push(set),
    podLogTail: async () => undefined,
    told: { has: key => told.has(key), add: key => told.add(key) },
    onTold: ({ outcome }) => counted.push(outcome),
    ...parts,
  }
  return { tells, lines, logs, events, jobEvents, annotations, counted }
}

const TEXT = new RegExp(String.raw`^\[oom_killed\] .+ Resolution: .+`)

t.test('a verdict is told everywhere, with the same words, once', async t => {
  const places = createPlaces()
  const story = storyOf(crash())
  await tell(story, places.tells, signal)
  await tell(story, places.tells, signal)

  const warnings = places.lines.filter(({ level }) => level === 40)
  t.match(warnings, [
    {
      msg: TEXT,
      flowRunId: FLOW_RUN_ID,
      verdict: 'crash',
      reason: 'JobFailed',
      outcome: 'crashed',
      code: 'oom_killed',
      namespace: 'team',
      job: 'etl',
    },
  ])
  t.match(
    places.lines.filter(({ level }) => level === 20),
    [{ msg: 'trail of the verdict', trail: {} }],
  )
  const said = warnings[0]?.msg
  t.strictSame(places.logs, [{ flowRunId: FLOW_RUN_ID, level: 40, message: said, timestamp: at(61) }])
  t.match(places.events, [
    {
      occurred: at(61),
      event: 'prefect-lifeguard.flow-run.crashed',
      resource: {
        'prefect.resource.id': `prefect.flow-run.${FLOW_RUN_ID}`,
        'prefect.resource.name': 'brave-otter',
        'prefect-lifeguard.diagnosis': 'oom_killed',
        'prefect-lifeguard.reason': 'JobFailed',
      },
      payload: { diagnosis: { code: 'oom_killed' }, reason: 'JobFailed', job: JOB },
    },
  ])
  t.match(places.jobEvents, [
    {
      regarding: { kind: 'Job', ...JOB },
      type: 'Warning',
      reason: 'FlowRunCrashed',
      action: 'SetState',
      note: said,
    },
  ])
  t.match(places.annotations, [
    {
      [DIAGNOSIS]: said,
      [VERDICT]: `crashed JobFailed oom_killed ${run().state.id}`,
      [TRAIL]: 'runIsAlive > runIsDead: crash JobFailed',
      [DEAD_PODS]: /OOMKilled/,
    },
  ])
  t.strictSame(places.counted, ['crashed'])
  for (const { length } of [places.logs, places.events, places.jobEvents, places.annotations])
    t.equal(length, 1, 'once')
})

t.test('each outcome has its own event and reason', async t => {
  const outcomes = {
    crashed: 'FlowRunCrashed',
    failed: 'FlowRunFailed',
    'new-attempt': 'FlowRunRescheduled',
    cancelled: 'FlowRunCancelled',
    reported: 'FlowRunDiagnosed',
    explained: 'FlowRunDiagnosed',
  } as const
  for (const outcome of Object.keys(outcomes) as (keyof typeof outcomes)[]) {
    const places = createPlaces()
    await tell(storyOf(crash(), { outcome }), places.tells, signal)
    t.equal(places.jobEvents[0]?.reason, outcomes[outcome], outcome)
    t.equal(places.events[0]?.event, `prefect-lifeguard.flow-run.${outcome}`)
  }
})

const reportOf = async (would: 'crash' | 'newAttempt' | 'cancel' | 'nothing') => {
  const places = createPlaces()
  await tell(storyOf(report({ would }), { outcome: 'reported' }), places.tells, signal)
  return places.logs[0]?.message
}

t.test('a report says what would have been done', async t => {
  t.match(await reportOf('crash'), /\(Not set to act: it would have been crashed\.\)$/)
  t.match(await reportOf('newAttempt'), /\(Not set to act: it would have been given a new attempt\.\)$/)
  t.match(await reportOf('cancel'), /\(Not set to act: it would have been cancelled\.\)$/)
  t.notMatch(await reportOf('nothing'), 'Not set to act')
})

const again = async (...stories: readonly ReturnType<typeof storyOf>[]) => {
  const places = createPlaces()
  for (const story of stories) await tell(story, places.tells, signal)
  return places.counted.length
}

t.test('what is worth telling again', async t => {
  const first = storyOf(crash())
  t.equal(await again(first, first), 1, 'not the same')
  t.equal(await again(first, storyOf(crash({ observed: run().state }), { run: run({ runCount: 2 }) })), 1)
  t.equal(await again(first, storyOf(crash(), { run: run({ state: 'Running@50' }) })), 2, 'another state')
  t.equal(await again(first, storyOf(crash({ reason: 'JobDeleted' }))), 2, 'another reason')
  t.equal(await again(first, storyOf(newAttempt(), { outcome: 'new-attempt' })), 2, 'another outcome')
  t.equal(await again(first, storyOf(crash({ diagnosis: { ...OOM, code: 'evicted' } }))), 2, 'another code')
})

t.test('what a process before us has told, by the annotation of the Job, is not told again', async t => {
  const places = createPlaces()
  const story = storyOf(crash())
  const dead = job({ uid: JOB_UID, failed: 'BackoffLimitExceeded' }).job
  const annotations = { [VERDICT]: signatureOf(story) }
  const annotated = { job: { ...dead, metadata: { ...dead.metadata, annotations } } }
  await tell(storyOf(crash(), { jobs: [annotated] }), places.tells, signal)
  t.strictSame([places.lines, places.logs, places.events, places.annotations], [[], [], [], []])
  await tell(storyOf(cancel(), { jobs: [annotated], outcome: 'cancelled' }), places.tells, signal)
  t.equal(places.logs.length, 1, 'another verdict is')
})

t.test('an event has an id made of what it tells: told by two, it is stored once', async t => {
  const [one, two] = [createPlaces(), createPlaces()]
  await tell(storyOf(crash()), one.tells, signal)
  await tell(storyOf(crash()), two.tells, signal)
  t.equal(one.events[0]?.id, two.events[0]?.id)
  await tell(storyOf(cancel(), { outcome: 'cancelled' }), two.tells, signal)
  t.not(two.events[1]?.id, two.events[0]?.id)
})

t.test('what an automation may filter by is related to the event', async t => {
  const places = createPlaces()
  const known = { ...run({ deploymentId: 'd' }), flowId: 'f', workPoolId: 'w', workPoolName: 'pool' }
  await tell(storyOf(crash(), { run: known }), places.tells, signal)
  const bare = run({ hasDeployment: false, state: 'Running@50' })
  await tell(storyOf(crash(), { run: bare }), places.tells, signal)
  t.strictSame(places.events[0]?.related, [
    { 'prefect.resource.id': 'prefect.flow.f', 'prefect.resource.role': 'flow' },
    { 'prefect.resource.id': 'prefect.deployment.d', 'prefect.resource.role': 'deployment' },
    {
      'prefect.resource.id': 'prefect.work-pool.w',
      'prefect.resource.role': 'work-pool',
      'prefect.resource.name': 'pool',
    },
  ])
  t.strictSame(places.events[1]?.related, [])
})

t.test('a warning of a diagnosis is a warning in the run’s logs', async t => {
  const places = createPlaces()
  const diagnosis: Diagnosis = { ...OOM, level: 'warning' }
  await tell(storyOf(report({ diagnosis }), { outcome: 'reported' }), places.tells, signal)
  t.equal(places.logs[0]?.level, 30)
})

t.test('where a place is missing the others are told', async t => {
  t.test('no Job: nothing is said in Kubernetes', async t => {
    const places = createPlaces()
    const { job: _job, ...verdict } = crash()
    await tell(storyOf(verdict), places.tells, signal)
    t.strictSame([places.jobEvents, places.annotations], [[], []])
    t.equal(places.logs.length, 1)
    t.notMatch(places.lines[0], { job: 'etl' })
  })
  t.test('no run: nothing is said in Prefect', async t => {
    const places = createPlaces()
    await tell(storyOf(report(), { run: null, outcome: 'reported' }), places.tells, signal)
    t.strictSame([places.logs, places.events], [[], []])
    t.match(places.annotations[0]?.[VERDICT], / -$/)
  })
})

const fail = (what: string) => () => Promise.reject(new Error(`${what} failed`))

t.test('a place that fails does not keep the others from being told, and is no error', async t => {
  const broken: Readonly<Record<string, Partial<Tells>>> = {
    Events: { recordEvent: fail('Events') },
    annotations: { annotateJob: fail('annotations') },
    'both, and the log of the pod': {
      recordEvent: fail('Events'),
      annotateJob: fail('annotations'),
      podLogTail: fail('log'),
    },
  }
  for (const [sentence, parts] of Object.entries(broken)) {
    const places = createPlaces(parts)
    await tell(storyOf(crash()), places.tells, signal)
    t.equal(places.logs.length, 1, sentence)
    t.equal(places.events.length, 1, sentence)
    t.ok(
      places.lines.some(({ msg }) => msg === 'could not tell a verdict'),
      `${sentence}: it is logged`,
    )
  }
})

const tailOf = async (pods: readonly PodFact[], podLogTail: Tells['podLogTail']) => {
  const places = createPlaces({ podLogTail })
  await tell(storyOf(crash({ diagnosis: { ...OOM, pod: 'etl-a' } }), { pods }), places.tells, signal)
  return places.logs.slice(1).map(({ message, level }) => ({ message, level }))
}

const words = async () => 'words'

t.test('the last lines of the containers that died stand in the run’s logs', async t => {
  const dead = pod({ of: JOB_UID, oom: true })
  const asked: unknown[] = []
  const told = await tailOf([dead], async from => {
    asked.push(from)
    return 'Killed\n\n'
  })
  t.strictSame(asked, [{ namespace: 'team', pod: 'etl-a', container: 'prefect-job', lines: 20, bytes: 4000 }])
  t.strictSame(told, [
    { message: "Last lines of container 'prefect-job' of pod 'etl-a':\nKilled", level: 20 },
  ])
  t.strictSame(await tailOf([dead], async () => ' \n'), [], 'nothing was said')
  t.strictSame(await tailOf([dead], async () => undefined), [], 'the log is gone')
  t.strictSame(await tailOf([dead], () => Promise.reject(new Error('403'))), [], 'the log cannot be had')
  t.strictSame(
    await tailOf([{ ...dead, gone: { at: at(50), finalStateUnknown: false } }], words),
    [],
    'pod gone',
  )
  t.strictSame(await tailOf([pod({ of: JOB_UID, exitCode: 0 })], words), [], 'no container failed')
  t.strictSame(await tailOf([pod({ of: JOB_UID, name: 'other', oom: true })], words), [], 'another pod')
  t.equal((await tailOf([pod({ of: JOB_UID, lastExitCode: 1 })], words)).length, 1, 'it failed before')
  t.match(await tailOf([pod({ of: JOB_UID, initExitCode: 2 })], words), [{ message: /'fetch'/ }], 'init')
})

t.test('annotations are bounded, far below the 256 KiB that all of a Job may have', async t => {
  const places = createPlaces()
  const { pod: dead } = pod({ of: JOB_UID, oom: true })
  const talkative = Array.from({ length: 30 }, (_, n) => ({
    name: `container-${n}`,
    restartCount: 0,
    state: { terminated: { exitCode: 1, message: '🙂'.repeat(4000) } },
    lastState: {},
  }))
  const pods = ['a', 'b', 'c'].map(name => ({
    pod: {
      ...dead,
      metadata: { ...dead.metadata, name, uid: name },
      status: { ...dead.status, containerStatuses: talkative },
    },
  }))
  await tell(storyOf(crash(), { pods }), places.tells, signal)
  t.ok(Buffer.byteLength(JSON.stringify(places.annotations[0])) < 100_000)
})
