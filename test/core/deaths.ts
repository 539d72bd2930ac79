import type { DiagnosisCode } from '../../src/core/diagnosis/codes.ts'
import type { StateName } from './build/runs.ts'
import { run, states } from './build/runs.ts'
import { job, node, pod, warning } from './build/objects.ts'
import type { World } from './build/world.ts'

/** A way for a run to die, or not to come to life. The README's table is made of these, so each is shown to be true. */
export interface DeathSentence {
  /** What happens to the run, as people would say it. */
  readonly dies: string
  /** What is seen: the diagnosis. */
  readonly seen: DiagnosisCode
  /** The state that the run is moved to; `unchanged` where it is told only. */
  readonly becomes: StateName | 'unchanged'
  /** An example, with deaths acted upon. */
  readonly world: World
}

const FAILED = job({ failed: 'BackoffLimitExceeded' })

const disrupted = (reason: string) => [{ type: 'DisruptionTarget', status: 'True', reason } as const]

const NODE_LOST: World = {
  now: 600,
  jobs: [job({ failureTarget: 'BackoffLimitExceeded' })],
  pods: [pod({ due: 330 })],
  nodes: [node('node-1', 300)],
}

const CANNOT_START = { run: run({ state: 'Pending@0', runCount: 0 }) } as const

const ACTED_UPON = { ...CANNOT_START, now: 700, settings: { stuckStart: 'crash' } } as const satisfies World

/** How a run can die, what is seen of it, and what becomes of it. */
export const DEATHS: readonly DeathSentence[] = [
  {
    dies: 'Its container outgrows its memory limit and is killed.',
    seen: 'oom_killed',
    becomes: 'Crashed',
    world: { jobs: [FAILED], pods: [pod({ oom: true })] },
  },
  {
    dies: 'Somebody sends it SIGKILL: exit code 137, and Kubernetes does not say that memory was the reason.',
    seen: 'oom_suspected',
    becomes: 'Crashed',
    world: { jobs: [FAILED], pods: [pod({ exitCode: 137 })] },
  },
  {
    dies: 'Its process ends with an error before it can tell Prefect.',
    seen: 'error_exit',
    becomes: 'Crashed',
    world: { jobs: [FAILED], pods: [pod({ exitCode: 3 })] },
  },
  {
    dies: 'Its pods die one after the other, until `backoffLimit` is used up.',
    seen: 'error_exit',
    becomes: 'Crashed',
    world: {
      jobs: [job({ failed: 'BackoffLimitExceeded', spec: { backoffLimit: 2 } })],
      pods: [
        pod({ name: 'etl-a', created: 1, exitCode: 137 }),
        pod({ name: 'etl-b', created: 8, exitCode: 3 }),
        pod({ name: 'etl-c', created: 15, exitCode: 3 }),
      ],
    },
  },
  {
    dies: 'A rule of `podFailurePolicy` ends the Job at its first pod, whatever `backoffLimit` says.',
    seen: 'pod_failure_policy',
    becomes: 'Crashed',
    world: {
      jobs: [job({ failed: 'PodFailurePolicy', spec: { backoffLimit: 6 }, status: { failed: 1 } })],
      pods: [pod({ exitCode: 137 })],
    },
  },
  {
    dies: 'It runs for longer than `activeDeadlineSeconds`.',
    seen: 'deadline_exceeded',
    becomes: 'Crashed',
    world: {
      jobs: [job({ failed: 'DeadlineExceeded', spec: { activeDeadlineSeconds: 30, backoffLimit: 1 } })],
      pods: [pod({ exitCode: 143 })],
    },
  },
  {
    dies: '`activeDeadlineSeconds` passes before a pod could be made.',
    seen: 'deadline_exceeded',
    becomes: 'Crashed',
    world: {
      run: run({ state: 'Pending@0', runCount: 0 }),
      jobs: [job({ failed: 'DeadlineExceeded', spec: { activeDeadlineSeconds: 30 } })],
    },
  },
  {
    dies: 'With restartPolicy OnFailure its container dies again and again, until `backoffLimit` is used up.',
    seen: 'crash_loop_backoff',
    becomes: 'Crashed',
    world: {
      jobs: [job({ failed: 'BackoffLimitExceeded', spec: { backoffLimit: 3 }, status: { failed: 1 } })],
      pods: [pod({ phase: 'Failed', waiting: 'CrashLoopBackOff', lastExitCode: 1 })],
    },
  },
  {
    dies: 'The indexes of an Indexed Job fail, each with a `backoffLimitPerIndex` of its own.',
    seen: 'error_exit',
    becomes: 'Crashed',
    world: {
      jobs: [
        job({
          failed: 'FailedIndexes',
          spec: { completionMode: 'Indexed', completions: 2, parallelism: 2, backoffLimitPerIndex: 0 },
          status: { failed: 1, succeeded: 1 },
        }),
      ],
      pods: [pod({ name: 'etl-0', exitCode: 0 }), pod({ name: 'etl-1', exitCode: 1 })],
    },
  },
  {
    dies: 'Its node runs out of memory or disk, and kubelet evicts the pod.',
    seen: 'evicted',
    becomes: 'Crashed',
    world: { jobs: [FAILED], pods: [pod({ exitCode: 137, reason: 'Evicted' })] },
  },
  {
    dies: 'A pod of higher priority takes its place.',
    seen: 'preempted',
    becomes: 'Crashed',
    world: {
      jobs: [FAILED],
      pods: [pod({ exitCode: 137, due: 25, conditions: disrupted('PreemptionByScheduler') })],
    },
  },
  {
    dies: 'Its node goes away, and nobody is left to end the pod. (After two minutes, in which the node may come back.)',
    seen: 'node_lost',
    becomes: 'Crashed',
    world: NODE_LOST,
  },
  {
    dies: 'Its node is gone for good, and its pod with it; or somebody deletes the pod by force. (Once its heart is silent: nobody saw it end.)',
    seen: 'node_lost',
    becomes: 'Crashed',
    world: {
      now: 600,
      jobs: [FAILED],
      pods: [pod({ phase: 'Failed', gone: 25, conditions: disrupted('DeletionByPodGC') })],
    },
  },
  {
    dies: 'An init container fails; the flow never starts.',
    seen: 'init_container_failed',
    becomes: 'Crashed',
    world: {
      run: run({ state: 'InfrastructurePending@2', runCount: 0 }),
      jobs: [FAILED],
      pods: [pod({ initExitCode: 7 })],
    },
  },
  {
    dies: 'Its process ends well, and Prefect never hears how the run ended. (After half a minute, in which it may.)',
    seen: 'exited_without_reporting',
    becomes: 'Crashed',
    world: { now: 90, jobs: [job({ complete: true })], pods: [pod({ exitCode: 0 })] },
  },
  {
    dies: 'Somebody deletes its Job.',
    seen: 'job_deleted',
    becomes: 'Crashed',
    world: { jobs: [job({ gone: 22 })], pods: [pod({ exitCode: 143, due: 52, gone: 24 })] },
  },
  {
    dies: 'Somebody deletes its pod, and `backoffLimit` is 0.',
    seen: 'pod_deleted',
    becomes: 'Crashed',
    world: { jobs: [FAILED], pods: [pod({ exitCode: 143, due: 50, gone: 22 })] },
  },
  {
    dies: 'Its Job failed and was removed by `ttlSecondsAfterFinished`.',
    seen: 'oom_killed',
    becomes: 'Crashed',
    world: {
      jobs: [job({ failed: 'BackoffLimitExceeded', gone: 40 })],
      pods: [pod({ oom: true, gone: 40 })],
    },
  },
  {
    dies: 'It died while nobody watched, and nothing of it is left. (Where its work pool is in `LIFEGUARD_WORK_POOLS`.)',
    seen: 'job_deleted',
    becomes: 'Crashed',
    world: { now: 300, settings: { workPools: ['kubernetes'] } },
  },
  {
    dies: 'It dies in one of these ways, and its flow has retries left.',
    seen: 'oom_killed',
    becomes: 'AwaitingRetry',
    world: {
      run: run({ retries: 1, retryDelaySeconds: 10 }),
      jobs: [FAILED],
      pods: [pod({ oom: true })],
    },
  },
  {
    dies: 'It has retries left, but no deployment by which a worker could start it again.',
    seen: 'oom_killed',
    becomes: 'Crashed',
    world: {
      run: run({ retries: 1, hasDeployment: false, names: null }),
      jobs: [FAILED],
      pods: [pod({ oom: true })],
    },
  },
  {
    dies: 'Its process waits to retry the flow by itself, and dies while it waits.',
    seen: 'oom_killed',
    becomes: 'AwaitingRetry',
    world: {
      run: run({ state: 'AwaitingRetry@10', retries: 1, retryType: 'in_process' }),
      jobs: [FAILED],
      pods: [pod({ oom: true })],
    },
  },
  {
    dies: 'It is being cancelled, and nobody says that it was. (After a minute.)',
    seen: 'job_deleted',
    becomes: 'Cancelled',
    world: { now: 120, run: run({ state: 'Cancelling@20' }), jobs: [job({ gone: 30 })], pods: [] },
  },
  {
    dies: 'Its image cannot be pulled.',
    seen: 'image_pull_backoff',
    becomes: 'unchanged',
    world: { ...CANNOT_START, jobs: [job()], pods: [pod({ waiting: 'ImagePullBackOff' })] },
  },
  {
    dies: 'Its image has an impossible name.',
    seen: 'invalid_image',
    becomes: 'unchanged',
    world: { ...CANNOT_START, jobs: [job()], pods: [pod({ waiting: 'InvalidImageName' })] },
  },
  {
    dies: 'A Secret or ConfigMap that its environment needs is missing.',
    seen: 'container_config_error',
    becomes: 'unchanged',
    world: { ...CANNOT_START, jobs: [job()], pods: [pod({ waiting: 'CreateContainerConfigError' })] },
  },
  {
    dies: 'Its container cannot be started: no such command, a mount that does not suit it.',
    seen: 'container_start_error',
    becomes: 'unchanged',
    world: { ...CANNOT_START, jobs: [job()], pods: [pod({ waiting: 'RunContainerError' })] },
  },
  {
    dies: 'A volume cannot be mounted.',
    seen: 'volume_mount_error',
    becomes: 'unchanged',
    world: {
      ...CANNOT_START,
      jobs: [job()],
      pods: [pod({ waiting: 'ContainerCreating' })],
      events: [warning('FailedMount', { kind: 'Pod', name: 'etl-a', seen: 20 })],
    },
  },
  {
    dies: 'No node can take its pod.',
    seen: 'unschedulable',
    becomes: 'unchanged',
    world: {
      ...CANNOT_START,
      jobs: [job()],
      pods: [
        pod({
          on: null,
          unstarted: true,
          conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable' }],
        }),
      ],
    },
  },
  {
    dies: 'A quota, an admission webhook or a missing service account keeps its pod from being made.',
    seen: 'pod_creation_failed',
    becomes: 'unchanged',
    world: {
      ...CANNOT_START,
      jobs: [job()],
      events: [warning('FailedCreate', { kind: 'Job', name: 'etl', seen: 5 })],
    },
  },
  {
    dies: 'Its container crashes and is started again, while Kubernetes still has tries left.',
    seen: 'crash_loop_backoff',
    becomes: 'unchanged',
    world: { jobs: [job()], pods: [pod({ phase: 'Running', waiting: 'CrashLoopBackOff', lastExitCode: 1 })] },
  },
  {
    dies: 'It cannot start for longer than its grace. (Where `LIFEGUARD_STUCK_START` says `crash` or `crash-and-suspend`.)',
    seen: 'image_pull_backoff',
    becomes: 'Crashed',
    world: { ...ACTED_UPON, jobs: [job()], pods: [pod({ waiting: 'ImagePullBackOff' })] },
  },
  {
    dies: 'A worker took it up for another attempt and never made the Job.',
    seen: 'oom_killed',
    becomes: 'unchanged',
    world: {
      now: 1000,
      run: run({ state: 'Pending@50' }),
      states: states('Scheduled@0', 'Pending@0', 'Running@5', 'AwaitingRetry@20', 'Pending@50'),
      jobs: [FAILED],
      pods: [pod({ oom: true })],
    },
  },
]
