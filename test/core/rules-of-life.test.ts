import t from 'tap'
import type { PodFact } from '../../src/core/facts.ts'
import { job, node, pod, warning } from './build/objects.ts'
import { run, states } from './build/runs.ts'
import { showThat } from './build/sentences.ts'
import { UNKNOWN } from './build/world.ts'

const FAILED = job({ failed: 'BackoffLimitExceeded' })
const PENDING = run({ state: 'Pending@0', runCount: 0 })

t.test('a run lives while one of its Jobs or pods does, and Prefect is not asked', async t => {
  showThat(
    t,
    {
      'a Job without a terminal condition, its flow running': {
        world: { jobs: [job()], pods: [pod()] },
        verdict: 'nothing JobIsActive',
        asked: [],
      },
      'a Job whose pod failed, and the next one runs: Kubernetes retries': {
        world: {
          jobs: [job({ spec: { backoffLimit: 2 }, status: { failed: 1, active: 1 } })],
          pods: [pod({ exitCode: 137 }), pod({ name: 'etl-b', created: 30 })],
        },
        verdict: 'nothing JobIsActive',
        asked: [],
      },
      'a Job whose counters are beyond backoffLimit and that has no terminal condition': {
        world: { jobs: [job({ status: { failed: 3, active: 0 } })], pods: [pod()] },
        verdict: 'nothing JobIsActive',
      },
      'FailureTarget, and its pod is still ending': {
        world: { jobs: [job({ failureTarget: 'BackoffLimitExceeded' })], pods: [pod({ due: 90 })] },
        verdict: 'nothing JobIsActive',
        asked: [],
      },
      'SuccessCriteriaMet is not yet Complete': {
        world: {
          jobs: [job({ status: { conditions: [{ type: 'SuccessCriteriaMet', status: 'True' }] } })],
          pods: [pod()],
        },
        verdict: 'nothing JobIsActive',
      },
      'a Failed condition that is False': {
        world: {
          jobs: [job({ status: { conditions: [{ type: 'Failed', status: 'False' }] } })],
          pods: [pod()],
        },
        verdict: 'nothing JobIsActive',
      },
      'a suspended Job': {
        world: { jobs: [job({ suspended: true })] },
        verdict: 'nothing JobIsSuspended',
        asked: [],
      },
      'a suspended Job whose pod is still ending': {
        world: { jobs: [job({ suspended: true })], pods: [pod({ due: 90 })] },
        verdict: 'nothing JobIsSuspended',
      },
      'an active Job beside a suspended one': {
        world: { jobs: [job({ name: 'etl-1', suspended: true }), job()], pods: [pod()] },
        verdict: 'nothing JobIsActive',
      },
      'an older Job failed, the newer one runs': {
        world: { jobs: [FAILED, job({ name: 'etl-2', created: 40 })], pods: [pod({ of: 'etl-2' })] },
        verdict: 'nothing JobIsActive',
        asked: [],
      },
      'the newest Job failed, an older one still runs': {
        world: { jobs: [job({ name: 'etl-0', created: -60 }), FAILED], pods: [pod({ of: 'etl-0' })] },
        verdict: 'nothing JobIsActive',
      },
      'its Job failed, and one of its pods is still ending: the flow may be handling SIGTERM': {
        world: { jobs: [FAILED], pods: [pod({ due: 90 })] },
        verdict: 'nothing PodIsNotTerminal',
        asked: [],
      },
      'its Job was deleted, and its pod is still ending': {
        world: { jobs: [job({ gone: 20 })], pods: [pod({ due: 90 })] },
        verdict: 'nothing PodIsNotTerminal',
      },
      'a pod that runs without any Job': {
        world: { pods: [pod({ of: null })] },
        verdict: 'nothing PodIsNotTerminal',
      },
      'a pod whose node has lost touch: phase Unknown': {
        world: { jobs: [FAILED], pods: [pod({ phase: 'Unknown' })] },
        verdict: 'nothing PodIsNotTerminal',
      },
      'a Job that another controller manages, and that has not said how it ended': {
        world: { jobs: [job({ spec: { managedBy: 'kueue.x-k8s.io/multikueue' } })], pods: [pod()] },
        verdict: 'nothing JobIsActive',
      },
      'Prefect does not answer, and need not': {
        world: { jobs: [job()], pods: [pod()], run: UNKNOWN },
        verdict: 'nothing JobIsActive',
      },
    },
    'runIsAlive',
  )
})

t.test('what could not be listed is unknown, never none', async t => {
  showThat(
    t,
    {
      'Jobs could not be listed': {
        world: { jobs: UNKNOWN, pods: [pod({ exitCode: 137 })] },
        verdict: 'requeue JobsUnknown',
        with: { afterMs: 5000 },
        asked: [],
      },
      'pods could not be listed': {
        world: { jobs: [FAILED], pods: UNKNOWN },
        verdict: 'requeue PodsUnknown',
      },
      'neither could be listed': { world: { jobs: UNKNOWN, pods: UNKNOWN }, verdict: 'requeue JobsUnknown' },
      'they are in memory, and the live list fails': {
        world: { jobs: [FAILED], pods: [pod({ exitCode: 1 })], live: { jobs: UNKNOWN, pods: UNKNOWN } },
        verdict: 'requeue JobsUnknown',
        asked: ['flowRun', 'cluster'],
      },
      'a pod is overdue, and its node could not be read': {
        world: { now: 600, jobs: [FAILED], pods: [pod({ due: 330 })], nodes: UNKNOWN },
        verdict: 'requeue NodesUnknown',
        asked: ['nodes'],
      },
    },
    'clusterIsUnknown',
  )
  showThat(t, {
    'Jobs could not be listed, but a pod of the run was seen running': {
      world: { jobs: UNKNOWN, pods: [pod()] },
      verdict: 'nothing PodIsNotTerminal',
    },
    'pods could not be listed, but its Job has not ended': {
      world: { jobs: [job({ created: 50 })], pods: UNKNOWN },
      verdict: 'requeue NothingHasStarted',
    },
  })
})

t.test('pods that are overdue: their node decides', async t => {
  const overdue = pod({ due: 330 })
  const lost = job({ failureTarget: 'BackoffLimitExceeded' })
  showThat(t, {
    'the node is Ready: it will end them': {
      world: { now: 600, jobs: [FAILED], pods: [overdue], nodes: [node('node-1')] },
      verdict: 'nothing PodIsNotTerminal',
      asked: ['nodes'],
    },
    'the node is not Ready': {
      world: { now: 600, jobs: [lost], pods: [overdue], nodes: [node('node-1', 300)] },
      verdict: 'crash JobLost',
    },
    'the node no longer exists': {
      world: { now: 600, jobs: [lost], pods: [overdue], nodes: [node('node-2')] },
      verdict: 'crash JobLost',
    },
    'one of two pods is on a Ready node': {
      world: {
        now: 600,
        jobs: [lost],
        pods: [overdue, pod({ name: 'etl-b', on: 'node-2', due: 330 })],
        nodes: [node('node-1', 300), node('node-2')],
      },
      verdict: 'nothing JobIsActive',
    },
    'one of two pods is not told to end': {
      world: {
        now: 600,
        jobs: [lost],
        pods: [overdue, pod({ name: 'etl-b' })],
        nodes: [node('node-1', 300)],
      },
      verdict: 'nothing JobIsActive',
    },
    'the Job is not about to fail: Kubernetes will replace the pod': {
      world: { now: 600, jobs: [job()], pods: [overdue], nodes: [node('node-1', 300)] },
      verdict: 'requeue NothingHasStarted',
    },
    'the Job is about to fail, and no pod of it is left: the Failed condition is on its way': {
      world: { now: 600, jobs: [lost], nodes: [node('node-1', 300)] },
      verdict: 'requeue NothingHasStarted',
    },
    "the overdue pod is another Job's": {
      world: {
        now: 600,
        jobs: [lost, job({ name: 'etl-0', created: -9, failed: 'BackoffLimitExceeded' })],
        pods: [pod({ of: 'etl-0', due: 330 })],
        nodes: [node('node-1', 300)],
      },
      verdict: 'requeue NothingHasStarted',
    },
    'a pod that is due just now is not overdue yet': {
      world: { now: 330, jobs: [FAILED], pods: [overdue] },
      verdict: 'nothing PodIsNotTerminal',
      asked: [],
    },
    'a pod that was never bound has no node to be lost with': {
      world: { now: 600, jobs: [FAILED], pods: [pod({ due: 330, on: null })] },
      verdict: 'nothing PodIsNotTerminal',
      asked: [],
    },
    'the Job failed and its pod is on a lost node': {
      world: { now: 600, jobs: [FAILED], pods: [overdue], nodes: [] },
      verdict: 'crash JobFailed',
    },
  })
})

t.test('a Job whose pods have not started is looked at again, and Events may say why', async t => {
  const unstarted = pod({ unstarted: true })
  showThat(
    t,
    {
      'in its first half minute nothing is read': {
        world: { now: 29, jobs: [job()], pods: [unstarted], run: PENDING },
        verdict: 'requeue NothingHasStarted',
        with: { afterMs: 30_000 },
        asked: [],
      },
      'after that the Events are': {
        world: { now: 30, jobs: [job()], pods: [unstarted], run: PENDING },
        verdict: 'requeue NothingHasStarted',
        asked: ['events'],
      },
      'Events that cannot be read change nothing': {
        world: { jobs: [job()], pods: [unstarted], run: PENDING, events: UNKNOWN },
        verdict: 'requeue NothingHasStarted',
      },
      'a pod without a Job has no age to be judged by': {
        world: { pods: [pod({ of: null, unstarted: true })] },
        verdict: 'requeue NothingHasStarted',
        asked: [],
      },
      'the Job is being deleted in the foreground: it goes when its pods have gone': {
        world: { jobs: [job({ deleting: 20 })], pods: [pod({ exitCode: 143, due: 50 })] },
        verdict: 'requeue NothingHasStarted',
      },
      'a pod has just ended, and its Job will say so in a moment': {
        world: { now: 49, jobs: [job()], pods: [pod({ exitCode: 0 })] },
        verdict: 'requeue NothingHasStarted',
        asked: [],
      },
      'between two pods, half a minute after the first': {
        world: { now: 50, jobs: [job({ spec: { backoffLimit: 6 } })], pods: [pod({ exitCode: 1 })] },
        verdict: 'requeue NothingHasStarted',
        asked: ['events'],
      },
      'a pod ended in the future, by the clock of its node': {
        world: { now: 19, jobs: [job({ created: -60 })], pods: [pod({ exitCode: 1 })] },
        verdict: 'requeue NothingHasStarted',
        asked: ['events'],
      },
    },
    'nothingHasStarted',
  )
  showThat(t, {
    'a container that was restarted has started': {
      world: {
        jobs: [job()],
        pods: [pod({ phase: 'Running', waiting: 'ContainerCreating', lastExitCode: 1 })],
      },
      verdict: 'nothing JobIsActive',
    },
    'a container that ended while its pod goes on has started': {
      world: { jobs: [job()], pods: [pod({ phase: 'Running', exitCode: 0 })] },
      verdict: 'nothing JobIsActive',
    },
    'the pods of an earlier attempt started, those of this one are refused': {
      world: {
        now: 200,
        jobs: [FAILED, job({ name: 'etl-2', created: 100 })],
        pods: [pod({ exitCode: 137 })],
        events: [warning('FailedCreate', { kind: 'Job', name: 'etl-2', seen: 120 })],
      },
      verdict: 'report StartIsStuck',
      with: { diagnosis: { code: 'pod_creation_failed' } },
    },
  })
})

t.test(
  'a start that is stuck is told at once, and acted upon only by setting and after its grace',
  async t => {
    const stuck = { run: PENDING, jobs: [job()], pods: [pod({ waiting: 'ImagePullBackOff' })] }
    const invalid = { run: PENDING, jobs: [job()], pods: [pod({ waiting: 'InvalidImageName' })] }
    showThat(
      t,
      {
        'by default': {
          world: { ...stuck, now: 100_000 },
          verdict: 'report StartIsStuck',
          with: { would: 'nothing', job: { name: 'etl', uid: 'etl' }, afterMs: undefined },
          asked: [],
        },
        'with `crash`, within the grace': {
          world: { ...stuck, now: 60, settings: { stuckStart: 'crash' } },
          verdict: 'report StartIsStuck',
          with: { would: 'crash', afterMs: 541_000 },
          asked: [],
        },
        'with `crash`, within the grace of that diagnosis': {
          world: { ...invalid, now: 60, settings: { stuckStart: 'crash' } },
          verdict: 'report StartIsStuck',
          with: { would: 'crash', afterMs: 1000 },
        },
      },
      'startIsStuck',
    )
    showThat(
      t,
      {
        'with `crash`, after the grace': {
          world: { ...stuck, now: 601, settings: { stuckStart: 'crash' } },
          verdict: 'crash StartIsStuck',
          with: { suspend: false, thenFail: false, observed: PENDING.state },
          asked: ['flowRun', 'cluster', 'states'],
        },
        'with `crash`, after the grace of that diagnosis': {
          world: { ...invalid, now: 61, settings: { stuckStart: 'crash' } },
          verdict: 'crash StartIsStuck',
        },
        'with `crash-and-suspend`, after the grace': {
          world: { ...stuck, now: 700, settings: { stuckStart: 'crash-and-suspend' } },
          verdict: 'crash StartIsStuck',
          with: { suspend: true },
        },
        'no new attempt: it would be stuck again': {
          world: { ...stuck, now: 700, run: { ...PENDING, retries: 5 }, settings: { stuckStart: 'crash' } },
          verdict: 'crash StartIsStuck',
        },
        'where runs are only reported': {
          world: { ...stuck, now: 700, settings: { stuckStart: 'crash', failureState: 'report' } },
          verdict: 'report StartIsStuck',
          with: { would: 'crash' },
        },
        'an earlier pod of it has just been deleted by force': {
          world: {
            ...stuck,
            now: 700,
            pods: [...stuck.pods, pod({ name: 'etl-0', gone: 690 })],
            settings: { stuckStart: 'crash' },
          },
          verdict: 'crash StartIsStuck',
        },
        'beside an older Job that has ended': {
          world: {
            ...stuck,
            now: 700,
            jobs: [job(), job({ name: 'etl-0', created: -60, failed: 'BackoffLimitExceeded' })],
            settings: { stuckStart: 'crash' },
          },
          verdict: 'crash StartIsStuck',
        },
        'a pod without a Job': {
          world: {
            ...stuck,
            now: 700,
            run: { ...run({ names: null }), state: PENDING.state },
            jobs: [],
            pods: [pod({ of: null, waiting: 'ImagePullBackOff' })],
            settings: { stuckStart: 'crash' },
          },
          verdict: 'crash StartIsStuck',
        },
      },
      'startIsStuckTooLong',
    )
  },
)

/** A pod whose containers kubelet starts again. */
const restarted = ({ pod: { spec, ...rest } }: PodFact): PodFact => ({
  pod: { ...rest, spec: { ...spec, restartPolicy: 'OnFailure' } },
})

t.test('a start that is stuck is not ended where something else of the run may live', async t => {
  const settings = { stuckStart: 'crash' } as const
  const stuck = pod({ waiting: 'InvalidImageName' })
  showThat(t, {
    'an older Job of the run is active: a spoofed Job, or one that was made twice': {
      world: {
        now: 700,
        settings,
        jobs: [job(), job({ name: 'etl-0', created: -60 })],
        pods: [stuck, pod({ name: 'etl-0-a', of: 'etl-0' })],
      },
      verdict: 'nothing JobIsActive',
    },
    'the pod before it is told to end, and its flow still runs: it has an hour for that, and the room': {
      world: {
        now: 700,
        settings,
        jobs: [job({ spec: { backoffLimit: 3 } })],
        pods: [stuck, pod({ name: 'etl-0', due: 4000 })],
      },
      verdict: 'report StartIsStuck',
      with: { would: 'nothing', afterMs: 30_000 },
    },
    'no pod can be made in place of one that is told to end, and its flow still runs': {
      world: {
        now: 700,
        settings,
        jobs: [job({ spec: { backoffLimit: 3 } })],
        pods: [pod({ name: 'etl-0', due: 4000 })],
        events: [warning('FailedCreate', { kind: 'Job', name: 'etl', seen: 5 })],
      },
      verdict: 'nothing JobIsActive',
    },
    'the pod before it was deleted by force, perhaps on a node that is cut off, and its heart beats': {
      world: {
        now: 700,
        settings,
        run: PENDING,
        jobs: [job({ spec: { backoffLimit: 3 } })],
        pods: [stuck, pod({ name: 'etl-0', gone: 50 })],
        heartbeat: 600,
      },
      verdict: 'requeue HeartIsBeating',
      with: { afterMs: 300_000 },
    },
    'another index of its Job is about to start': {
      world: {
        now: 700,
        settings,
        jobs: [job({ spec: { completionMode: 'Indexed', completions: 2, parallelism: 2 } })],
        pods: [stuck, pod({ name: 'etl-0', created: 699, unstarted: true })],
      },
      verdict: 'report StartIsStuck',
      with: { would: 'nothing', diagnosis: { code: 'invalid_image' } },
    },
    'another index of its Job is stuck, too, and may yet get over it': {
      world: {
        now: 700,
        settings,
        jobs: [job({ spec: { completionMode: 'Indexed', completions: 2, parallelism: 2 } })],
        pods: [stuck, pod({ name: 'etl-0', created: 200, waiting: 'ErrImagePull' })],
      },
      verdict: 'report StartIsStuck',
      with: { would: 'crash', afterMs: 100_000, diagnosis: { code: 'invalid_image' } },
    },
    'its container crashes and is started again: Kubernetes counts that itself': {
      world: {
        now: 100_000,
        settings,
        jobs: [job({ spec: { backoffLimit: 50 } })],
        pods: [restarted(pod({ phase: 'Running', waiting: 'CrashLoopBackOff', lastExitCode: 1 }))],
      },
      verdict: 'report StartIsStuck',
      with: { would: 'nothing', diagnosis: { code: 'crash_loop_backoff' } },
    },
    'an older Job has not even a pod yet': {
      world: { now: 700, settings, jobs: [job(), job({ name: 'etl-0', created: -60 })], pods: [stuck] },
      verdict: 'requeue NothingHasStarted',
    },
    'the pod of an older Job that is gone still runs': {
      world: {
        now: 700,
        settings,
        jobs: [job(), job({ name: 'etl-0', created: -60, gone: 20 })],
        pods: [stuck, pod({ name: 'etl-0-a', of: 'etl-0' })],
      },
      verdict: 'nothing JobIsActive',
    },
    'pods could not be listed, and an old Event says that they were refused': {
      world: {
        now: 700,
        settings,
        run: PENDING,
        jobs: [job()],
        pods: UNKNOWN,
        events: [warning('FailedCreate', { kind: 'Job', name: 'etl', seen: 5 })],
      },
      verdict: 'requeue NothingHasStarted',
    },
    'Jobs could not be listed': {
      world: { now: 700, settings, run: PENDING, jobs: UNKNOWN, pods: [stuck] },
      verdict: 'requeue NothingHasStarted',
    },
    'it is suspended': {
      world: { now: 700, settings, jobs: [job({ suspended: true })], pods: [stuck] },
      verdict: 'nothing JobIsSuspended',
    },
    'the run is Scheduled again': {
      world: { now: 700, settings, run: run({ state: 'Scheduled@500' }), jobs: [job()], pods: [stuck] },
      verdict: 'nothing FlowRunIsScheduled',
    },
    'the run is being cancelled: its worker deletes the Job': {
      world: { now: 700, settings, run: run({ state: 'Cancelling@500' }), jobs: [job()], pods: [stuck] },
      verdict: 'nothing WorkerIsCancelling',
    },
    'the run has ended': {
      world: { now: 700, settings, run: run({ state: 'Crashed@500' }), jobs: [job()], pods: [stuck] },
      verdict: 'nothing FlowRunIsFinal',
    },
    'a worker took the run up again, and the Job of that attempt is still to come': {
      world: {
        now: 701,
        settings,
        run: run({ state: 'Pending@700', runCount: 0 }),
        states: states('Scheduled@0', 'Pending@0', 'Crashed@650', 'AwaitingRetry@690', 'Pending@700'),
        jobs: [job()],
        pods: [stuck],
      },
      verdict: 'requeue JobIsToCome',
    },
    'the run is dead for the watch and starting for the live list': {
      world: {
        now: 60,
        jobs: [FAILED],
        pods: [pod({ exitCode: 1 })],
        live: { jobs: [FAILED, job({ name: 'etl-2', created: 59 })], pods: [pod({ exitCode: 1 })] },
      },
      verdict: 'requeue NothingHasStarted',
      asked: ['flowRun', 'cluster'],
    },
  })
})

t.test('a Job that we suspended ourselves is no sign of life', async t => {
  const stopped = job({ stopped: true, ended: 40 })
  showThat(t, {
    'its run was not ended yet: the write failed, or we were restarted': {
      world: { jobs: [stopped], run: PENDING },
      verdict: 'crash JobStopped',
    },
    'its run is not tried again even where retries are left: it was stopped to end the run': {
      world: { jobs: [stopped], run: run({ state: 'Pending@0', runCount: 0, retries: 3 }) },
      verdict: 'crash JobStopped',
    },
    'somebody resumed it': {
      world: {
        now: 20,
        jobs: [{ job: { ...stopped.job, spec: { ...stopped.job.spec, suspend: false } } }],
        run: PENDING,
      },
      verdict: 'requeue NothingHasStarted',
    },
    'its pod is still ending': {
      world: { jobs: [stopped], pods: [pod({ due: 90 })], run: PENDING },
      verdict: 'nothing PodIsNotTerminal',
    },
    'it is the Job of an earlier attempt, and the one of this attempt failed': {
      world: {
        jobs: [stopped, job({ name: 'etl-2', created: 45, failed: 'BackoffLimitExceeded', ended: 50 })],
      },
      verdict: 'crash JobFailed',
    },
    'its condition does not say since when': {
      world: { jobs: [job({ stopped: true, ended: null })], run: PENDING },
      verdict: 'crash JobStopped',
    },
    'Kubernetes has not taken note of it yet': {
      world: { jobs: [job({ stopped: true, status: { conditions: [] } })], run: PENDING },
      verdict: 'crash JobStopped',
    },
  })
})

t.test('a run whose end nobody saw may be about to report', async t => {
  showThat(
    t,
    {
      'its Job has just completed': {
        world: { now: 35, jobs: [job({ complete: true })], pods: [pod({ exitCode: 0 })] },
        verdict: 'requeue RunHasJustEnded',
        with: { afterMs: 25_000 },
        asked: [],
      },
      'its Job is gone, and how it ended may have escaped us': {
        world: { now: 35, jobs: [job({ gone: { unseen: 30 } })] },
        verdict: 'requeue RunHasJustEnded',
      },
      'its pod was deleted by force, without grace': {
        world: { now: 32, jobs: [FAILED], pods: [pod({ gone: 29 })] },
        verdict: 'requeue RunHasJustEnded',
      },
      'its pod was deleted by force after its Job had completed: the last end counts': {
        world: { now: 70, jobs: [job({ complete: true })], pods: [pod({ gone: 60 })] },
        verdict: 'requeue RunHasJustEnded',
        with: { afterMs: 20_000 },
      },
      'runs that end within ten seconds are looked at together': {
        world: { now: 35, jobs: [job({ complete: true, ended: 31 })], pods: [pod({ exitCode: 0 })] },
        verdict: 'requeue RunHasJustEnded',
        with: { afterMs: 35_000 },
      },
      'nor does a look just before that tear them apart': {
        world: { now: 59.99, jobs: [job({ complete: true })], pods: [pod({ exitCode: 0 })] },
        verdict: 'requeue RunHasJustEnded',
        with: { afterMs: 100 },
      },
    },
    'lastReportMayBeOnItsWay',
  )
  showThat(t, {
    'half a minute after its Job completed': {
      world: { now: 60, jobs: [job({ complete: true })], pods: [pod({ exitCode: 0 })] },
      verdict: 'crash JobComplete',
    },
    'half a minute after its Job was found to be gone': {
      world: { now: 60, jobs: [job({ gone: { unseen: 30 } })] },
      verdict: 'crash JobDeleted',
    },
    'a Job that was seen to fail and then seen to go needs no wait': {
      world: {
        now: 31,
        jobs: [job({ failed: 'BackoffLimitExceeded', gone: 31 })],
        pods: [pod({ exitCode: 1 })],
      },
      verdict: 'crash JobFailed',
    },
    'a pod that was seen to end and then seen to go needs no wait': {
      world: { now: 31, jobs: [FAILED], pods: [pod({ exitCode: 1, gone: 30 })] },
      verdict: 'crash JobFailed',
    },
    'a Complete condition that does not say since when': {
      world: {
        now: 60,
        jobs: [job({ complete: true, ended: null })],
        pods: [pod({ exitCode: 0 })],
        heartbeat: 5,
      },
      verdict: 'crash JobComplete',
    },
  })
})
