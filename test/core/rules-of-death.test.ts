import t from 'tap'
import type { JobFact } from '../../src/core/facts.ts'
import type { JobParts } from './build/objects.ts'
import { at, job, node, pod } from './build/objects.ts'
import { run } from './build/runs.ts'
import { showThat } from './build/sentences.ts'
import { UNKNOWN } from './build/world.ts'
import type { World } from './build/world.ts'

const DEAD: World = { jobs: [job({ failed: 'BackoffLimitExceeded' })], pods: [pod({ oom: true })] }

t.test('a run of which nothing was ever seen', async t => {
  const owned = { workPools: ['kubernetes'] }
  showThat(t, {
    'without a name to look for: an in-process subflow, or one that waits for a worker': {
      world: { run: run({ names: null, hasDeployment: false }), settings: owned },
      verdict: 'nothing NoJobWasMade',
      asked: ['flowRun', 'cluster'],
    },
    'its Job is gone, and might be in another cluster': {
      world: { now: 1000 },
      verdict: 'report NamedJobIsNotHere',
    },
    'its Job is gone, its state is younger than two minutes': {
      world: { now: 124, settings: owned },
      verdict: 'requeue OrphanIsYoung',
      with: { afterMs: 1000 },
      asked: ['flowRun', 'cluster', 'namedJob'],
    },
    'its Job is gone, its state is two minutes old': {
      world: { now: 125, settings: owned },
      verdict: 'crash NoTrace',
      with: { job: undefined, diagnosis: { code: 'job_deleted' } },
      asked: ['flowRun', 'cluster', 'namedJob', 'heartbeat'],
    },
    'its Job is gone, and it has had a heartbeat': {
      world: { now: 300, heartbeat: 200, settings: owned },
      verdict: 'requeue HeartIsBeating',
      with: { afterMs: 300_000 },
    },
    'its Job is gone, and whether it has had a heartbeat is not known': {
      world: { now: 300, heartbeat: UNKNOWN, settings: owned },
      verdict: 'requeue HeartbeatUnknown',
    },
    'it is Pending: a worker may be about to make the Job': {
      world: { now: 599, run: run({ state: 'Pending@0' }), settings: owned },
      verdict: 'requeue OrphanIsYoung',
    },
    'it is Pending, and no worker made a Job in ten minutes': {
      world: { now: 600, run: run({ state: 'Pending@0' }), settings: owned },
      verdict: 'crash NoTrace',
    },
    'its Job is gone, it is being cancelled': {
      world: { now: 125, run: run({ state: 'Cancelling@5' }), settings: owned },
      verdict: 'cancel FlowRunIsCancelling',
    },
  })
})

t.test('a pod whose Job is gone', async t => {
  showThat(t, {
    'it failed': {
      world: { pods: [pod({ exitCode: 137 })] },
      verdict: 'crash PodWithoutJob',
      with: { job: undefined },
    },
    'it is gone, too': {
      world: { pods: [pod({ exitCode: 137, gone: 25 })] },
      verdict: 'crash PodWithoutJob',
    },
    'its state is newer than the end of its last container': {
      world: { pods: [pod({ exitCode: 137 })], run: run({ state: 'Running@26' }) },
      verdict: 'requeue StateIsNewerThanDeath',
    },
    'its state is no newer than the end of its last container': {
      world: { pods: [pod({ exitCode: 137 })], run: run({ state: 'Running@25' }) },
      verdict: 'crash PodWithoutJob',
    },
    'its state is no newer than the end of the last of several pods': {
      world: {
        pods: [pod({ exitCode: 137, gone: 40 }), pod({ name: 'etl-0', exitCode: 137 })],
        run: run({ state: 'Running@45' }),
      },
      verdict: 'crash PodWithoutJob',
    },
    'its state is no newer than the moment the pod went': {
      world: { pods: [pod({ exitCode: 137, gone: 25 })], run: run({ state: 'Running@26' }) },
      verdict: 'crash PodWithoutJob',
    },
    'it ended before a container said when': {
      world: {
        pods: [pod({ phase: 'Failed', unstarted: true, created: 10 })],
        run: run({ state: 'Pending@12' }),
      },
      verdict: 'crash PodWithoutJob',
    },
    'it is on a node that is lost': {
      world: { now: 400, pods: [pod({ due: 330 })] },
      verdict: 'requeue NodeMayComeBack',
      with: { afterMs: 50_000 },
    },
  })
})

t.test('a node that is gone or not Ready may come back', async t => {
  const lost: World = { jobs: [job({ failureTarget: 'BackoffLimitExceeded' })], pods: [pod({ due: 330 })] }
  showThat(
    t,
    {
      'two minutes since the pod was due, though the node was lost before': {
        world: { ...lost, now: 449, nodes: [node('node-1', 60)] },
        verdict: 'requeue NodeMayComeBack',
        with: { afterMs: 1000 },
        asked: ['nodes', 'flowRun', 'cluster'],
      },
      'two minutes since the node was lost, though the pod was due before': {
        world: { ...lost, now: 519, nodes: [node('node-1', 400)] },
        verdict: 'requeue NodeMayComeBack',
      },
      'two minutes since the last of several nodes was lost': {
        world: {
          ...lost,
          now: 519,
          pods: [pod({ due: 330 }), pod({ name: 'etl-b', on: 'node-2', due: 330 })],
          nodes: [node('node-1', 60), node('node-2', 400)],
        },
        verdict: 'requeue NodeMayComeBack',
      },
      'the node is merely cut off: the flow goes on': {
        world: { ...lost, now: 500, nodes: [node('node-1', 300)], heartbeat: 310 },
        verdict: 'requeue HeartIsBeating',
        with: { afterMs: 210_000 },
      },
      'whether the flow goes on is not known': {
        world: { ...lost, now: 500, nodes: [node('node-1', 300)], heartbeat: UNKNOWN },
        verdict: 'requeue HeartbeatUnknown',
      },
    },
    'nodeMayComeBack',
  )
  showThat(t, {
    'no heartbeat since the node was lost': {
      world: { ...lost, now: 700, nodes: [node('node-1', 300)], heartbeat: 250 },
      verdict: 'crash JobLost',
      with: { job: { uid: 'etl' } },
    },
    'the flow went on for a while and then fell silent': {
      world: { ...lost, now: 710, nodes: [node('node-1', 300)], heartbeat: 310 },
      verdict: 'crash JobLost',
    },
    'it never had a heartbeat': {
      world: { ...lost, now: 450, nodes: [node('node-1', 300)] },
      verdict: 'crash JobLost',
    },
  })
})

t.test('a run that is being cancelled', async t => {
  showThat(
    t,
    {
      'its worker has a minute to say Cancelled': {
        world: { ...DEAD, now: 99, run: run({ state: 'Cancelling@40' }) },
        verdict: 'requeue FlowRunIsCancelling',
        with: { afterMs: 1000 },
      },
      'after that we say so': {
        world: { ...DEAD, now: 100, run: run({ state: 'Cancelling@40' }) },
        verdict: 'cancel FlowRunIsCancelling',
        with: { observed: { name: 'Cancelling' }, diagnosis: { code: 'oom_killed' }, job: { uid: 'etl' } },
      },
      'retries are not for the cancelled': {
        world: { ...DEAD, now: 100, run: run({ state: 'Cancelling@40', retries: 3 }) },
        verdict: 'cancel FlowRunIsCancelling',
      },
      'reported only': {
        world: {
          ...DEAD,
          now: 100,
          run: run({ state: 'Cancelling@40' }),
          settings: { failureState: 'report' },
        },
        verdict: 'report FlowRunIsCancelling',
        with: { would: 'cancel' },
      },
    },
    'flowRunIsCancelling',
  )
})

t.test('a process whose end nobody saw may go on where its node is only cut off', async t => {
  const failed = job({ failed: 'BackoffLimitExceeded' })
  const byForce = { jobs: [failed], pods: [pod({ gone: 30 })] }
  const collected = pod({
    phase: 'Failed',
    conditions: [
      { type: 'DisruptionTarget', status: 'True', reason: 'DeletionByPodGC', lastTransitionTime: at(30) },
    ],
  })
  showThat(
    t,
    {
      'its pod was deleted by force, and its heart beats': {
        world: { ...byForce, now: 500, heartbeat: 310 },
        verdict: 'requeue HeartIsBeating',
        with: { afterMs: 210_000 },
      },
      'its pod was deleted by force, and whether its heart beats is not known': {
        world: { ...byForce, now: 500, heartbeat: UNKNOWN },
        verdict: 'requeue HeartbeatUnknown',
      },
      'its node is gone, and so the control plane calls its pod Failed': {
        world: { jobs: [failed], pods: [collected], now: 500, heartbeat: 310 },
        verdict: 'requeue HeartIsBeating',
      },
      'the control plane called its pod Failed, and then removed it': {
        world: {
          jobs: [failed],
          pods: [{ ...collected, gone: { at: at(40), finalStateUnknown: false } }],
          now: 500,
          heartbeat: 310,
        },
        verdict: 'requeue HeartIsBeating',
      },
      'it has neither Job nor pod any more': {
        world: { pods: [pod({ gone: 30 })], now: 500, heartbeat: 310 },
        verdict: 'requeue HeartIsBeating',
      },
      'all its pods went while nobody watched': {
        world: {
          jobs: [job({ failed: 'BackoffLimitExceeded', status: { failed: 1 } })],
          now: 500,
          heartbeat: 310,
        },
        verdict: 'requeue HeartIsBeating',
      },
      'one of its pods went while nobody watched': {
        world: {
          jobs: [job({ failed: 'BackoffLimitExceeded', status: { failed: 2 } })],
          pods: [pod({ oom: true })],
          now: 500,
          heartbeat: 310,
        },
        verdict: 'requeue HeartIsBeating',
      },
      'its Job was deleted here, and its pods are in another cluster': {
        world: {
          jobs: [job({ gone: 30, status: { active: 1 }, spec: { managedBy: 'kueue.x-k8s.io/multikueue' } })],
          now: 60,
          heartbeat: 50,
        },
        verdict: 'requeue HeartIsBeating',
      },
    },
    'endWasNotSeen',
  )
  showThat(t, {
    'its pod was deleted by force half a minute ago: it may be rescheduling itself': {
      world: { ...byForce, now: 59 },
      verdict: 'requeue RunHasJustEnded',
    },
    'the control plane called its pod Failed half a minute ago': {
      world: { jobs: [failed], pods: [collected], now: 59 },
      verdict: 'requeue RunHasJustEnded',
    },
    'its pod was deleted by force, and its heart is silent': {
      world: { ...byForce, now: 710, heartbeat: 310 },
      verdict: 'crash JobFailed',
    },
    'the control plane called its pod Failed, and its heart is silent': {
      world: { jobs: [failed], pods: [collected], now: 500 },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'node_lost' } },
    },
    'kubelet saw its container end: it has had heartbeats, as the dead have': {
      world: { ...DEAD, heartbeat: 19 },
      verdict: 'crash JobFailed',
      asked: ['flowRun', 'cluster'],
    },
    'a pod that is Terminating counts as failed already': {
      world: {
        jobs: [job({ gone: 30, status: { failed: 1, terminating: 1 } })],
        pods: [pod({ exitCode: 143, gone: 29 })],
        heartbeat: 20,
      },
      verdict: 'crash JobDeleted',
    },
    'its Job completed, and no pod of it is left': {
      world: { jobs: [job({ complete: true, status: { succeeded: 1 } })], now: 90, heartbeat: 50 },
      verdict: 'crash JobComplete',
    },
    'a pod of an earlier attempt was deleted by force': {
      world: {
        jobs: [failed, job({ name: 'etl-0', created: -60, failed: 'BackoffLimitExceeded' })],
        pods: [pod({ oom: true }), pod({ name: 'old', of: 'etl-0', gone: -30 })],
        heartbeat: 15,
      },
      verdict: 'crash JobFailed',
    },
  })
})

t.test('the dead make no states', async t => {
  showThat(
    t,
    {
      'its state is six seconds newer than the death of its Job': {
        world: { ...DEAD, run: run({ state: 'Running@36' }) },
        verdict: 'requeue StateIsNewerThanDeath',
        with: { afterMs: 376_000 },
      },
      'its state is newer, and time has passed: it has had a heartbeat': {
        world: { ...DEAD, now: 436, run: run({ state: 'Running@36' }), heartbeat: 400 },
        verdict: 'requeue HeartIsBeating',
      },
      'its state is newer, and heartbeats cannot be read': {
        world: { ...DEAD, now: 436, run: run({ state: 'Running@36' }), heartbeat: UNKNOWN },
        verdict: 'requeue HeartbeatUnknown',
      },
      'Pending likewise': {
        world: { ...DEAD, run: run({ state: 'Pending@36' }) },
        verdict: 'requeue StateIsNewerThanDeath',
      },
    },
    'stateIsNewerThanDeath',
  )
  showThat(t, {
    'its state is five seconds newer: clocks may differ by that': {
      world: { ...DEAD, run: run({ state: 'Running@35' }) },
      verdict: 'crash JobFailed',
    },
    'clocks are allowed to differ by more': {
      world: { ...DEAD, run: run({ state: 'Running@90' }), now: 95, settings: { clockTolerance: 60_000 } },
      verdict: 'crash JobFailed',
    },
    'its state is newer, and time has passed without a heartbeat': {
      world: { ...DEAD, now: 436, run: run({ state: 'Running@36' }) },
      verdict: 'crash JobFailed',
    },
    'its last heartbeat seems to be newer than its death, as clocks differ: it is waited for, not for ever': {
      world: { ...DEAD, now: 1000, run: run({ state: 'Running@36' }), heartbeat: 60 },
      verdict: 'crash JobFailed',
    },
    'a Failed condition that does not say since when': {
      world: { ...DEAD, jobs: [job({ failed: 'BackoffLimitExceeded', ended: null })] },
      verdict: 'crash JobFailed',
    },
    'a Job that was deleted died when we learned of it': {
      world: { jobs: [job({ gone: 22 })], run: run({ state: 'Running@27' }) },
      verdict: 'crash JobDeleted',
    },
    'a Job that was deleted, and a state since then': {
      world: { jobs: [job({ gone: 22 })], run: run({ state: 'Running@28' }) },
      verdict: 'requeue StateIsNewerThanDeath',
    },
  })
})

const failed = (parts: JobParts): JobFact => job({ failed: 'BackoffLimitExceeded', ...parts })

t.test('of several dead Jobs the newest one counts', async t => {
  showThat(t, {
    'an older one is Complete: rescheduled on SIGTERM with exit code 0, which hides the death from Prefect': {
      world: { jobs: [failed({ created: 20 }), job({ name: 'etl-0', complete: true, ended: 10 })] },
      verdict: 'crash JobFailed',
      with: { job: { name: 'etl' } },
    },
    'an older one failed, the newest is Complete': {
      world: { now: 90, jobs: [job({ created: 20, complete: true }), failed({ name: 'etl-0' })] },
      verdict: 'crash JobComplete',
    },
    'both have the same name: the UID tells them apart': {
      world: {
        jobs: [failed({ uid: 'first', ended: 10, gone: 12 }), failed({ uid: 'second', created: 15 })],
      },
      verdict: 'crash JobFailed',
      with: { job: { name: 'etl', uid: 'second' } },
    },
    'made in the same second, the order of their UIDs decides': {
      world: { jobs: [failed({ uid: 'b' }), failed({ uid: 'a' })] },
      verdict: 'crash JobFailed',
      with: { job: { uid: 'b' } },
    },
    'made in the same second, listed the other way round': {
      world: { jobs: [failed({ uid: 'a' }), failed({ uid: 'b' })] },
      verdict: 'crash JobFailed',
      with: { job: { uid: 'b' } },
    },
    'the newest was deleted, an older one failed': {
      world: { jobs: [job({ created: 20, gone: 40 }), failed({ name: 'etl-0', created: 0 })] },
      verdict: 'crash JobDeleted',
    },
  })
})

t.test('Events are read only where the status alone does not tell why', async t => {
  const vague: World = { jobs: [job({ failed: 'BackoffLimitExceeded' })] }
  showThat(t, {
    'the pod tells why': { world: DEAD, verdict: 'crash JobFailed', asked: ['flowRun', 'cluster'] },
    'no pod is left': { world: vague, verdict: 'crash JobFailed', asked: ['flowRun', 'cluster', 'events'] },
    'Events that cannot be read change nothing': {
      world: { ...vague, events: UNKNOWN },
      verdict: 'crash JobFailed',
    },
    'a deadline may have passed because no pod could be made': {
      world: { jobs: [job({ failed: 'DeadlineExceeded' })] },
      verdict: 'crash JobFailed',
      asked: ['flowRun', 'cluster', 'events'],
    },
    'what is not ours to end is not asked about': {
      world: { ...vague, run: run({ state: 'Completed@20' }) },
      verdict: 'nothing FlowRunIsFinal',
      asked: ['flowRun'],
    },
  })
})
