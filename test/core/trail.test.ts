import t from 'tap'
import { decide } from '../../src/core/decide.ts'
import { job, pod, warning } from './build/objects.ts'
import { run } from './build/runs.ts'
import { decideIn, seenIn, settingsOf, UNKNOWN } from './build/world.ts'
import type { World } from './build/world.ts'

t.test('a trail names the facts, the diagnosis and every rule that was asked', async t => {
  const { trail } = decideIn({
    jobs: [job({ failed: 'BackoffLimitExceeded' })],
    pods: [pod({ oom: true, gone: 40 })],
  })
  t.strictSame(trail.facts, [
    'life: dead JobFailed, from a live list',
    'Job team/etl uid etl rv 7: FailureTarget (BackoffLimitExceeded), Failed (BackoffLimitExceeded)',
    'Pod team/etl-a uid etl-a rv 7: Failed prefect-job OOMKilled 137, gone',
    'Flow run 7f2b1a52-58a0-4c59-9a34-6a3cbd1f0a11: Running (RUNNING) state Running-5, run_count 1, retries unset, infrastructure team:etl',
  ])
  t.not(trail.diagnosis, '', 'which rule named the diagnosis')
  t.strictSame(trail.rules, [
    { rule: 'runIsAlive' },
    { rule: 'clusterIsUnknown' },
    { rule: 'nothingHasStarted' },
    { rule: 'startIsStuck' },
    { rule: 'lastReportMayBeOnItsWay' },
    { rule: 'flowRunIsTopLevel' },
    { rule: 'flowRunIsFinal' },
    { rule: 'flowRunWaits' },
    { rule: 'workerIsCancelling' },
    { rule: 'cacheIsNoProof' },
    { rule: 'jobIsSomebodyElses' },
    { rule: 'attemptHasNoJobYet' },
    { rule: 'noJobWasMade' },
    { rule: 'nodeMayComeBack' },
    { rule: 'orphanMayLive' },
    { rule: 'flowRunIsCancelling' },
    { rule: 'endWasNotSeen' },
    { rule: 'stateIsNewerThanDeath' },
    { rule: 'eventsMayTellWhy' },
    { rule: 'runIsDead', answer: 'crash JobFailed' },
  ])
})

const factsOf = (world: World): readonly string[] => decideIn(world).trail.facts

t.test('facts in words', async t => {
  t.strictSame(
    factsOf({
      jobs: [job({ gone: { unseen: 20 } }), job({ name: 'etl-2', complete: true, created: 5 })],
      pods: [
        pod({ due: 90 }),
        pod({ name: 'etl-b', waiting: 'ImagePullBackOff' }),
        pod({ name: 'etl-c', phase: 'Pending', waiting: '', reason: 'NodeAffinity' }),
        pod({ name: 'etl-d', phase: 'Failed', unstarted: true, reason: 'Evicted' }),
      ],
    }),
    [
      'life: alive PodIsNotTerminal, from the watch',
      'Job team/etl uid etl rv 7: no condition, gone, last state unknown',
      'Job team/etl-2 uid etl-2 rv 7: SuccessCriteriaMet, Complete',
      'Pod team/etl-a uid etl-a rv 7: Running prefect-job running, terminating',
      'Pod team/etl-b uid etl-b rv 7: Pending prefect-job ImagePullBackOff',
      'Pod team/etl-c uid etl-c rv 7: Pending NodeAffinity prefect-job ',
      'Pod team/etl-d uid etl-d rv 7: Failed Evicted',
    ],
    'Jobs and pods that are there, ending or gone',
  )
  t.strictSame(
    factsOf({ jobs: UNKNOWN, pods: UNKNOWN }),
    [
      'life: unknown JobsUnknown, from the watch',
      'jobs: unknown, the API server answered 503',
      'pods: unknown, the API server answered 503',
    ],
    'lists that failed',
  )
  const dead = { jobs: [job({ failed: 'DeadlineExceeded' })], pods: [pod({ exitCode: 1 })] }
  t.match(
    factsOf({ ...dead, run: UNKNOWN }).at(-1),
    'flow run: unknown, the API server answered 503',
    'Prefect did not answer',
  )
  t.match(
    factsOf({ ...dead, run: run({ names: null, retries: 2, state: 'Completed@9' }) }).at(-1),
    /Completed \(COMPLETED\) state Completed-9, run_count 1, retries 2, infrastructure none$/,
    'a run that names no Job',
  )
})

t.test('a container that says nothing', async t => {
  const { pod: quiet } = pod({ waiting: 'x' })
  const silent = {
    pod: {
      ...quiet,
      status: {
        ...quiet.status,
        containerStatuses: [
          { name: 'main', restartCount: 0, state: {}, lastState: {} },
          { name: 'side', restartCount: 0, state: { terminated: { exitCode: 2 } }, lastState: {} },
        ],
      },
    },
  }
  const { trail } = decideIn({ jobs: [job()], pods: [silent] })
  t.equal(trail.facts.at(-1), 'Pod team/etl-a uid etl-a rv 7: Pending main waiting side ended 2')
})

t.test('a rule that lacks a fact decides nothing: it says what it asks for', async t => {
  const world: World = { jobs: [job({ failed: 'DeadlineExceeded' })], pods: [pod({ exitCode: 1 })] }
  const { verdict, trail } = decide(seenIn(world), settingsOf(world))
  t.strictSame(verdict, { kind: 'ask', reason: 'FactIsMissing', need: 'flowRun' })
  t.strictSame(trail.rules.at(-1), { rule: 'flowRunIsUnknown', answer: 'ask for flowRun' })
})

t.test('the trail of a stuck start names what is stuck', async t => {
  const { trail } = decideIn({
    jobs: [job()],
    events: [warning('FailedCreate', { kind: 'Job', name: 'etl', seen: 4 })],
  })
  t.equal(trail.diagnosis, 'PodsNotCreated')
})
