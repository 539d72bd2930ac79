import t from 'tap'
import type { FlowRun } from '../../src/core/flow-run.ts'
import { FLOW_RUN_ID_LABEL } from '../../src/core/names.ts'
import { job, pod, warning } from './build/objects.ts'
import { FLOW_RUN_ID, run, STATES, states } from './build/runs.ts'
import type { StateName } from './build/runs.ts'
import { showThat } from './build/sentences.ts'
import { decideIn, UNKNOWN } from './build/world.ts'
import type { World } from './build/world.ts'

const DEAD: World = { jobs: [job({ failed: 'BackoffLimitExceeded' })], pods: [pod({ oom: true })] }

t.test('what Prefect says of a run whose only Job is dead, for every state it names', async t => {
  const verdicts: Readonly<Record<StateName, string>> = {
    Scheduled: 'nothing FlowRunIsScheduled',
    Late: 'nothing FlowRunIsScheduled',
    Resuming: 'nothing FlowRunIsScheduled',
    AwaitingRetry: 'nothing FlowRunIsScheduled',
    AwaitingConcurrencySlot: 'nothing FlowRunIsScheduled',
    Pending: 'crash JobFailed',
    Submitting: 'crash JobFailed',
    InfrastructurePending: 'crash JobFailed',
    Running: 'crash JobFailed',
    Retrying: 'crash JobFailed',
    Paused: 'nothing FlowRunIsPaused',
    Suspended: 'nothing FlowRunIsPaused',
    Cancelling: 'cancel FlowRunIsCancelling',
    Cancelled: 'nothing FlowRunIsFinal',
    Completed: 'nothing FlowRunIsFinal',
    Cached: 'nothing FlowRunIsFinal',
    Failed: 'nothing FlowRunIsFinal',
    TimedOut: 'nothing FlowRunIsFinal',
    Crashed: 'nothing FlowRunCrashedAlready',
  }
  for (const [name, expected] of Object.entries(verdicts)) {
    const { verdict } = decideIn({ ...DEAD, now: 100, run: run({ state: `${name}@10` }) })
    t.equal(`${verdict.kind} ${verdict.reason}`, expected, name)
  }
  t.strictSame(Object.keys(verdicts), Object.keys(STATES), 'no state is left out')
})

const retrying = (retryType: 'in_process' | 'reschedule', state = 'AwaitingRetry@10'): FlowRun =>
  run({ state, retryType, retries: 1 })

t.test('a stranded in-process retry is the one Scheduled run that nobody will take up', async t => {
  showThat(t, {
    'AwaitingRetry, in_process': {
      world: { ...DEAD, run: retrying('in_process') },
      verdict: 'newAttempt RetryIsStranded',
    },
    'AwaitingRetry, reschedule': {
      world: { ...DEAD, run: retrying('reschedule') },
      verdict: 'nothing FlowRunIsScheduled',
    },
    'Scheduled, in_process': {
      world: { ...DEAD, run: retrying('in_process', 'Scheduled@10') },
      verdict: 'nothing FlowRunIsScheduled',
    },
    'AwaitingRetry, in_process, and its process lives': {
      world: { jobs: [job()], pods: [pod()], run: retrying('in_process') },
      verdict: 'nothing JobIsActive',
    },
  })
})

t.test('runs that are none of our business', async t => {
  showThat(t, {
    'a top-level run': {
      world: { ...DEAD, run: run({ isTopLevel: true }) },
      verdict: 'nothing FlowRunIsTopLevel',
      asked: ['flowRun'],
    },
    'a top-level run that Crashed': {
      world: { ...DEAD, run: run({ isTopLevel: true, state: 'Crashed@40' }) },
      verdict: 'nothing FlowRunIsTopLevel',
    },
    'a run that Prefect does not know': {
      world: { ...DEAD, run: null },
      verdict: 'nothing FlowRunNotFound',
      asked: ['flowRun'],
    },
    'a run that Prefect cannot be asked about': {
      world: { ...DEAD, run: UNKNOWN },
      verdict: 'requeue FlowRunUnknown',
      with: { afterMs: 5000 },
    },
    'a run that was Crashed by somebody else, and we know why': {
      world: { ...DEAD, run: run({ state: 'Crashed@31' }) },
      verdict: 'nothing FlowRunCrashedAlready',
      with: { diagnosis: { code: 'oom_killed' }, job: { namespace: 'team', name: 'etl', uid: 'etl' } },
      asked: ['flowRun'],
    },
    'a run that completed has nothing to be explained': {
      world: { ...DEAD, run: run({ state: 'Completed@28' }) },
      verdict: 'nothing FlowRunIsFinal',
      with: { diagnosis: undefined },
    },
  })
})

t.test('a watch lags behind, so a death is looked at live before anything is done', async t => {
  showThat(t, {
    'the Job of the next attempt is not in the watch yet': {
      world: {
        ...DEAD,
        live: { jobs: [job({ failed: 'DeadlineExceeded' }), job({ name: 'etl-2', created: 59 })] },
      },
      verdict: 'requeue NothingHasStarted',
      asked: ['flowRun', 'cluster'],
    },
    'the pod that was gone for the watch is there, and ending': {
      world: { ...DEAD, live: { jobs: [job({ gone: 20 })], pods: [pod({ due: 90 })] } },
      verdict: 'nothing PodIsNotTerminal',
    },
    'the live look finds the same': {
      world: DEAD,
      verdict: 'crash JobFailed',
      asked: ['flowRun', 'cluster'],
    },
  })
})

t.test('whose Job is it? infrastructure_pid has to agree', async t => {
  const other = job({ name: 'real' })
  const owned = { workPools: ['kubernetes'] }
  showThat(
    t,
    {
      'it names another Job, which exists: ours was labelled by somebody else': {
        world: { ...DEAD, run: run({ names: 'real' }), namedJob: other },
        verdict: 'nothing AnotherJobIsNamed',
        asked: ['flowRun', 'cluster', 'namedJob'],
      },
      'it names another Job, which exists and carries the label of this run': {
        world: {
          ...DEAD,
          run: run({ names: 'real' }),
          namedJob: job({ name: 'real', labels: { [FLOW_RUN_ID_LABEL]: FLOW_RUN_ID } }),
        },
        verdict: 'nothing AnotherJobIsNamed',
      },
      'it names another Job, and that one cannot be read': {
        world: { ...DEAD, run: run({ names: 'real' }), namedJob: UNKNOWN, settings: owned },
        verdict: 'requeue NamedJobUnknown',
      },
      'it names a Job that is not here, and may be in another cluster': {
        world: { ...DEAD, run: run({ names: 'real' }) },
        verdict: 'report NamedJobIsNotHere',
        with: { would: 'nothing', diagnosis: { code: 'oom_killed' } },
      },
      'it names a Job that is not here; other work pools are of this cluster': {
        world: { ...DEAD, run: run({ names: 'real' }), settings: { workPools: ['elsewhere'] } },
        verdict: 'report NamedJobIsNotHere',
      },
      'the run has no work pool': {
        world: {
          ...DEAD,
          run: { ...run({ names: 'real' }), workPoolName: undefined } as never,
          settings: owned,
        },
        verdict: 'report NamedJobIsNotHere',
      },
      "a pod's owner has the name that is named, in another namespace": {
        world: { pods: [pod({ exitCode: 1 })], run: run({ infrastructurePid: 'elsewhere:etl' }) },
        verdict: 'report NamedJobIsNotHere',
      },
      'a pod without an owner says nothing of a Job': {
        world: { pods: [pod({ of: null, exitCode: 1 })] },
        verdict: 'report NamedJobIsNotHere',
      },
    },
    'jobIsSomebodyElses',
  )
  showThat(t, {
    'it names the dead Job': { world: DEAD, verdict: 'crash JobFailed' },
    'it is null': { world: { ...DEAD, run: run({ names: null }) }, verdict: 'crash JobFailed' },
    'it is empty': { world: { ...DEAD, run: run({ infrastructurePid: '' }) }, verdict: 'crash JobFailed' },
    'it names an older Job of the run that is dead, too': {
      world: {
        jobs: [
          job({ name: 'etl-1', failed: 'DeadlineExceeded', created: -60 }),
          job({ failed: 'DeadlineExceeded' }),
        ],
        run: run({ names: 'etl-1' }),
      },
      verdict: 'crash JobFailed',
    },
    'it names a Job that is gone, of a work pool that is in this cluster only': {
      world: { ...DEAD, run: run({ names: 'real' }), settings: owned },
      verdict: 'crash JobFailed',
    },
    'it names a Job whose name another run has by now': {
      world: {
        ...DEAD,
        run: run({ names: 'real' }),
        namedJob: job({
          name: 'real',
          labels: { [FLOW_RUN_ID_LABEL]: '00000000-0000-4000-8000-000000000000' },
        }),
        settings: owned,
      },
      verdict: 'crash JobFailed',
    },
    'it names a Job that is gone and whose pod is left: it was in this cluster': {
      world: { pods: [pod({ exitCode: 143 })] },
      verdict: 'crash PodWithoutJob',
      asked: ['flowRun', 'cluster', 'namedJob'],
    },
    'it names a Job that a tombstone remembers': {
      world: { jobs: [job({ gone: 20 })] },
      verdict: 'crash JobDeleted',
    },
  })
})

t.test('which attempt is it? a Pending run may wait for the Job of its next one', async t => {
  /** Rescheduled on SIGTERM: picked up again 40 s after its first Job was made. */
  const again = states('Scheduled@-2', 'Pending@-1', 'Running@5', 'AwaitingRetry@35', 'Pending@40')
  const pending: World = { ...DEAD, now: 42, run: run({ state: 'Pending@40' }), states: again }
  showThat(
    t,
    {
      'it was picked up after the newest Job had been made': {
        world: pending,
        verdict: 'requeue JobIsToCome',
        with: { afterMs: 598_000 },
        asked: ['flowRun', 'cluster', 'states'],
      },
      'the same a moment before ten minutes are over': {
        world: { ...pending, now: 639.5 },
        verdict: 'requeue JobIsToCome',
        with: { afterMs: 1000 },
      },
      'no Job came in ten minutes': {
        world: { ...pending, now: 640 },
        verdict: 'report JobNeverCame',
        with: { would: 'nothing', diagnosis: { code: 'oom_killed' } },
      },
      'Submitting and InfrastructurePending are Pending, too, and begin no attempt': {
        world: {
          ...pending,
          run: run({ state: 'InfrastructurePending@42' }),
          states: [...again, ...states('Submitting@41', 'InfrastructurePending@42')],
        },
        verdict: 'requeue JobIsToCome',
      },
      'its state history cannot be read': {
        world: { ...pending, states: UNKNOWN },
        verdict: 'requeue StateHistoryUnknown',
      },
      'the newest Job was made at about the time of the start, and it is not clear for which': {
        world: { ...pending, jobs: [job({ created: 42, failed: 'DeadlineExceeded', ended: 50 })], now: 60 },
        verdict: 'requeue AttemptIsCloseCall',
        with: { afterMs: 160_000 },
      },
      'it seems to be five seconds older than the start': {
        world: { ...pending, jobs: [job({ created: 35, failed: 'DeadlineExceeded', ended: 50 })], now: 60 },
        verdict: 'requeue AttemptIsCloseCall',
      },
      'it seems to be five seconds newer than the start': {
        world: { ...pending, jobs: [job({ created: 45, failed: 'DeadlineExceeded', ended: 50 })], now: 60 },
        verdict: 'requeue AttemptIsCloseCall',
      },
      'it seems to be six seconds older than the start': {
        world: { ...pending, jobs: [job({ created: 34, failed: 'DeadlineExceeded', ended: 50 })], now: 60 },
        verdict: 'requeue JobIsToCome',
      },
      'there are as many Jobs as starts and the newest is named, yet it is older than the last start: one start made two':
        {
          world: {
            ...pending,
            jobs: [
              job({ name: 'etl-0', failed: 'DeadlineExceeded' }),
              job({ name: 'etl', created: 3, failed: 'DeadlineExceeded' }),
            ],
            now: 60,
          },
          verdict: 'requeue AttemptIsCloseCall',
        },
      'there are as many Jobs as starts and an older one is named': {
        world: {
          ...pending,
          jobs: [
            job({ name: 'etl', failed: 'DeadlineExceeded' }),
            job({ name: 'etl-2', created: 41, failed: 'DeadlineExceeded', ended: 50 }),
          ],
          now: 60,
        },
        verdict: 'requeue AttemptIsCloseCall',
      },
      'the same Job twice is one Job': {
        world: {
          ...pending,
          jobs: [...Array<ReturnType<typeof job>>(2)].map(() => job({ failed: 'DeadlineExceeded' })),
        },
        verdict: 'requeue JobIsToCome',
      },
    },
    'attemptHasNoJobYet',
  )
  showThat(t, {
    'it was picked up once: no other attempt can have made the Job, whatever the clocks say': {
      world: { ...pending, run: run({ state: 'Pending@15' }), states: states('Scheduled@10', 'Pending@15') },
      verdict: 'crash JobFailed',
    },
    'it began as Pending, without a worker: a run that was submitted': {
      world: { ...pending, run: run({ state: 'Pending@15', names: null }), states: states('Pending@15') },
      verdict: 'crash JobFailed',
    },
    'the newest Job follows the last start': {
      world: {
        ...pending,
        jobs: [
          job({ name: 'etl-0', failed: 'DeadlineExceeded' }),
          job({ created: 46, failed: 'DeadlineExceeded', ended: 50 }),
        ],
        now: 60,
      },
      verdict: 'crash JobFailed',
    },
    'it comes close to the last start, is named, and each start has its Job': {
      world: {
        ...pending,
        jobs: [
          job({ name: 'etl-0', failed: 'DeadlineExceeded' }),
          job({ created: 41, failed: 'DeadlineExceeded', ended: 50 }),
        ],
        now: 60,
      },
      verdict: 'crash JobFailed',
    },
    'it seems to be five seconds older than the start, is named, and each start has its Job': {
      world: {
        ...pending,
        jobs: [
          job({ name: 'etl-0', failed: 'DeadlineExceeded' }),
          job({ created: 35, failed: 'DeadlineExceeded', ended: 50 }),
        ],
        now: 60,
      },
      verdict: 'crash JobFailed',
    },
    'no other Job came in the three minutes after a close call': {
      world: { ...pending, jobs: [job({ created: 42, failed: 'DeadlineExceeded', ended: 50 })], now: 220 },
      verdict: 'crash JobFailed',
    },
    'a run that is Running was started by a Job that is there': {
      world: { ...pending, now: 60, run: run({ state: 'Running@25' }), states: UNKNOWN },
      verdict: 'crash JobFailed',
      asked: ['flowRun', 'cluster'],
    },
  })
})

t.test('a quota Event says nothing about a run that ended', async t => {
  showThat(t, {
    'its Job failed in the end': {
      world: { ...DEAD, events: [warning('FailedCreate', { kind: 'Job', name: 'etl', seen: 5 })] },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'oom_killed' } },
    },
  })
})
