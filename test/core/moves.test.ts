import t from 'tap'
import { ATTEMPT_MARK } from '../../src/core/moves.ts'
import { job, pod } from './build/objects.ts'
import type { RunParts } from './build/runs.ts'
import { run, state, states } from './build/runs.ts'
import { showThat } from './build/sentences.ts'
import { UNKNOWN } from './build/world.ts'
import type { World } from './build/world.ts'

const dead = (parts: RunParts, more: World = {}): World => ({
  jobs: [job({ failed: 'BackoffLimitExceeded' })],
  pods: [pod({ oom: true })],
  run: run(parts),
  ...more,
})

/** A history in which we have caused so many new attempts already. */
const caused = (count: number): Pick<World, 'states'> => ({
  states: [
    ...states('Scheduled', 'Pending', 'Running'),
    ...Array.from({ length: count }, () => ({
      ...state('AwaitingRetry@4'),
      message: `[oom_killed] ... (${ATTEMPT_MARK} 1 of at most 5)`,
    })),
    ...states('Pending@5', 'Running@5'),
  ],
})

t.test("Prefect's retries come first, by Prefect's own arithmetic", async t => {
  showThat(
    t,
    {
      'the first of two tries': {
        world: dead({ runCount: 1, retries: 1, retryDelaySeconds: 12.5 }),
        verdict: 'newAttempt RetriesAreLeft',
        with: {
          delayMs: 12_500,
          replaceRetryType: false,
          attempt: 1,
          maxAttempts: 5,
          observed: state('Running@5'),
        },
        asked: ['flowRun', 'cluster', 'states'],
      },
      'no delay is set': {
        world: dead({ retries: 1 }),
        verdict: 'newAttempt RetriesAreLeft',
        with: { delayMs: 0 },
      },
      'the second of two tries': { world: dead({ runCount: 2, retries: 1 }), verdict: 'crash JobFailed' },
      'no retries': { world: dead({ runCount: 1, retries: 0 }), verdict: 'crash JobFailed' },
      'retries that were never set': { world: dead({ runCount: 1 }), verdict: 'crash JobFailed' },
      "Kubernetes' pod retries used them up, since every entry into Running counts": {
        world: dead({ runCount: 3, retries: 2 }),
        verdict: 'crash JobFailed',
      },
      'it was retried in its process before': {
        world: dead({ runCount: 2, retries: 2, retryType: 'in_process' }),
        verdict: 'newAttempt RetriesAreLeft',
        with: { replaceRetryType: true },
      },
      'it was rescheduled before': {
        world: dead({ runCount: 2, retries: 2, retryType: 'reschedule' }),
        verdict: 'newAttempt RetriesAreLeft',
        with: { replaceRetryType: false },
      },
      'without a deployment no worker can take it up': {
        world: dead({ retries: 3, hasDeployment: false }),
        verdict: 'crash JobFailed',
      },
      'retries are not to be honoured': {
        world: dead({ retries: 3 }, { settings: { honourRetries: false } }),
        verdict: 'crash JobFailed',
        asked: ['flowRun', 'cluster'],
      },
      'the history cannot be read, so it is not known how many attempts were ours': {
        world: dead({ retries: 1 }, { states: UNKNOWN }),
        verdict: 'requeue StateHistoryUnknown',
      },
      'it Completed its Job and never reported': {
        world: dead(
          { retries: 1 },
          { now: 90, jobs: [job({ complete: true })], pods: [pod({ exitCode: 0 })] },
        ),
        verdict: 'newAttempt RetriesAreLeft',
      },
      'reported only': {
        world: dead({ retries: 1 }, { settings: { failureState: 'report' } }),
        verdict: 'report RetriesAreLeft',
        with: { would: 'newAttempt' },
      },
      'Failed is wanted instead of Crashed: retries come first all the same': {
        world: dead({ retries: 1 }, { settings: { failureState: 'failed' } }),
        verdict: 'newAttempt RetriesAreLeft',
      },
    },
    'runIsDead',
  )
})

t.test('an attempt that never came to be Running was an attempt', async t => {
  const pending = { state: 'InfrastructurePending@3', runCount: 0 } as const
  const once = states('Scheduled@0', 'Pending@1', 'InfrastructurePending@3')
  showThat(t, {
    'without retries': { world: dead(pending, { states: once }), verdict: 'crash JobFailed' },
    'with retries 0': {
      world: dead({ ...pending, retries: 0 }, { states: once }),
      verdict: 'crash JobFailed',
    },
    'with one retry': {
      world: dead({ ...pending, retries: 1 }, { states: once }),
      verdict: 'newAttempt RetriesAreLeft',
    },
    'with one retry, which was ours and never came to be Running either': {
      world: dead({ state: 'Running@5', runCount: 0, retries: 1 }, caused(1)),
      verdict: 'crash JobFailed',
    },
    'with two retries, one of them used': {
      world: dead({ state: 'Running@5', runCount: 0, retries: 2 }, caused(1)),
      verdict: 'newAttempt RetriesAreLeft',
      with: { attempt: 2 },
    },
  })
})

t.test('the new attempts that we cause for one run are bounded', async t => {
  showThat(t, {
    'four of five are used': {
      world: dead({ runCount: 5, retries: 100 }, caused(4)),
      verdict: 'newAttempt RetriesAreLeft',
      with: { attempt: 5, maxAttempts: 5 },
    },
    'all are used': {
      world: dead({ runCount: 6, retries: 100 }, caused(5)),
      verdict: 'crash NewAttemptsAreUsedUp',
    },
    'a stranded retry was granted, and is bounded all the same': {
      world: dead({ state: 'AwaitingRetry@10', retryType: 'in_process', runCount: 9, retries: 1 }, caused(5)),
      verdict: 'crash NewAttemptsAreUsedUp',
    },
    'none are allowed': {
      world: dead({ retries: 1 }, { settings: { maxNewAttempts: 0 } }),
      verdict: 'crash NewAttemptsAreUsedUp',
    },
    'retries by Prefect itself are not ours': {
      world: dead(
        { runCount: 4, retries: 100 },
        {
          states: states('Scheduled', 'Running', 'AwaitingRetry', 'Running', 'AwaitingRetry', 'Running'),
          settings: { maxNewAttempts: 1 },
        },
      ),
      verdict: 'newAttempt RetriesAreLeft',
      with: { attempt: 1 },
    },
    'a state of another name that quotes us is no attempt': {
      world: dead(
        { retries: 3 },
        {
          states: [...states('Scheduled', 'Running'), { ...state('Crashed@3'), message: ATTEMPT_MARK }],
          settings: { maxNewAttempts: 1 },
        },
      ),
      verdict: 'newAttempt RetriesAreLeft',
    },
  })
})

t.test('a stranded in-process retry is given to a worker', async t => {
  const stranded: RunParts = { state: 'AwaitingRetry@10', retryType: 'in_process', runCount: 2, retries: 1 }
  showThat(t, {
    'its process died while it waited': {
      world: dead(stranded),
      verdict: 'newAttempt RetryIsStranded',
      with: { replaceRetryType: true, observed: state('AwaitingRetry@10') },
    },
    'it rescheduled itself on SIGTERM and exited with 0, and no worker may take it up': {
      world: dead(stranded, { now: 90, jobs: [job({ complete: true })], pods: [pod({ exitCode: 0 })] }),
      verdict: 'newAttempt RetryIsStranded',
    },
    'without a deployment': {
      world: dead({ ...stranded, hasDeployment: false }),
      verdict: 'crash JobFailed',
    },
    'retries are not to be honoured': {
      world: dead(stranded, { settings: { honourRetries: false } }),
      verdict: 'crash JobFailed',
    },
  })
})

t.test('a crash says what it rests on', async t => {
  showThat(t, {
    Crashed: {
      world: dead({}),
      verdict: 'crash JobFailed',
      with: {
        thenFail: false,
        suspend: false,
        observed: state('Running@5'),
        diagnosis: { code: 'oom_killed', category: 'OOMKilled', container: 'prefect-job', exitCode: 137 },
        job: { namespace: 'team', name: 'etl', uid: 'etl' },
      },
    },
    'Crashed, then Failed': {
      world: dead({}, { settings: { failureState: 'failed' } }),
      verdict: 'crash JobFailed',
      with: { thenFail: true },
    },
    'a dead Job needs no suspension': {
      world: dead({}, { settings: { stuckStart: 'crash-and-suspend' } }),
      verdict: 'crash JobFailed',
      with: { suspend: false },
    },
    'reported only': {
      world: dead({}, { settings: { failureState: 'report' } }),
      verdict: 'report JobFailed',
      with: { would: 'crash', job: { uid: 'etl' }, diagnosis: { code: 'oom_killed' } },
    },
  })
})
