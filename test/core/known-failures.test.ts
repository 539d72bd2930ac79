import t from 'tap'
import { job, node, pod, warning } from './build/objects.ts'
import { run, states } from './build/runs.ts'
import { showThat } from './build/sentences.ts'
import { UNKNOWN } from './build/world.ts'

/** Work pools whose Jobs are all in this cluster. */
const OWNED = { workPools: ['kubernetes'] }

t.test("Prefect's own observer (prefect-kubernetes 0.8.0) leaves these runs hanging", async t => {
  showThat(t, {
    'podFailurePolicy FailJob: one failure, backoffLimit 3': {
      world: {
        jobs: [job({ failed: 'PodFailurePolicy', spec: { backoffLimit: 3 }, status: { failed: 1 } })],
        pods: [pod({ exitCode: 137 })],
      },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'pod_failure_policy' } },
    },
    'activeDeadlineSeconds: one failure, backoffLimit 1': {
      world: {
        jobs: [job({ failed: 'DeadlineExceeded', spec: { backoffLimit: 1 }, status: { failed: 1 } })],
        pods: [pod({ exitCode: 1 })],
      },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'deadline_exceeded' } },
    },
    'activeDeadlineSeconds: no pod was ever made, so nothing counts as failed': {
      world: {
        run: run({ state: 'Submitting@1', runCount: 0 }),
        jobs: [job({ failed: 'DeadlineExceeded' })],
      },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'deadline_exceeded' } },
    },
    'restartPolicy OnFailure: BackoffLimitExceeded with one failed pod and backoffLimit 3': {
      world: {
        jobs: [job({ failed: 'BackoffLimitExceeded', spec: { backoffLimit: 3 }, status: { failed: 1 } })],
        pods: [pod({ phase: 'Failed', exitCode: 1, lastExitCode: 1 })],
      },
      verdict: 'crash JobFailed',
    },
    'the Job is Complete and the run still Running': {
      world: { now: 90, jobs: [job({ complete: true })], pods: [pod({ exitCode: 0 })] },
      verdict: 'crash JobComplete',
      with: { diagnosis: { code: 'exited_without_reporting' } },
    },
    'the Job is Complete, the run still Running, and a TTL has removed the Job': {
      world: { now: 90, jobs: [job({ complete: true, gone: 40 })], pods: [pod({ exitCode: 0, gone: 41 })] },
      verdict: 'crash JobComplete',
      with: { diagnosis: { code: 'exited_without_reporting' } },
    },
    'the Job of attempt 2 failed beside the Complete one of attempt 1 (default settings: SIGTERM exits with 0)':
      {
        world: {
          jobs: [
            job({ name: 'etl-1', created: -60, complete: true, ended: -30 }),
            job({ name: 'etl-2', failed: 'BackoffLimitExceeded' }),
          ],
          pods: [pod({ of: 'etl-2', oom: true })],
          run: run({ names: 'etl-2', runCount: 2 }),
        },
        verdict: 'crash JobFailed',
        with: { job: { name: 'etl-2' }, diagnosis: { code: 'oom_killed' } },
      },
    'the process died while it waited to retry by itself': {
      world: {
        jobs: [job({ failed: 'BackoffLimitExceeded' })],
        pods: [pod({ exitCode: 137 })],
        run: run({ state: 'AwaitingRetry@10', retries: 1, retryType: 'in_process' }),
      },
      verdict: 'newAttempt RetryIsStranded',
      with: { replaceRetryType: true },
    },
    'rescheduled on SIGTERM after an in-process retry: no worker may take it up': {
      world: {
        now: 90,
        jobs: [job({ complete: true })],
        pods: [pod({ exitCode: 0 })],
        run: run({ state: 'AwaitingRetry@25', retries: 1, runCount: 2, retryType: 'in_process' }),
      },
      verdict: 'newAttempt RetryIsStranded',
    },
    'cancelled, and the Job deleted': {
      world: { now: 120, jobs: [job({ gone: 40 })], run: run({ state: 'Cancelling@35' }) },
      verdict: 'cancel FlowRunIsCancelling',
    },
    'the node is lost: FailureTarget only, its pod Terminating for ever': {
      world: {
        now: 600,
        jobs: [job({ failureTarget: 'BackoffLimitExceeded', status: { failed: 0, terminating: 1 } })],
        pods: [pod({ due: 330 })],
        nodes: [node('node-1', 300)],
      },
      verdict: 'crash JobLost',
      with: { diagnosis: { code: 'node_lost' } },
    },
    "Prefect's API was down when it happened: it is asked again": {
      world: { jobs: [job({ failed: 'BackoffLimitExceeded' })], pods: [pod({ exitCode: 1 })], run: UNKNOWN },
      verdict: 'requeue FlowRunUnknown',
    },
    'the Job was deleted while nobody watched': {
      world: { now: 300, settings: OWNED },
      verdict: 'crash NoTrace',
    },
    'the Job was deleted while nobody watched, and its pod is left': {
      world: { pods: [pod({ exitCode: 143 })] },
      verdict: 'crash PodWithoutJob',
    },
    'a flow that was submitted without a deployment: no infrastructure_pid, no new attempt possible': {
      world: {
        jobs: [job({ failed: 'BackoffLimitExceeded' })],
        pods: [pod({ oom: true })],
        run: run({ hasDeployment: false, names: null, retries: 2 }),
        states: states('Pending', 'Running'),
      },
      verdict: 'crash JobFailed',
    },
    'an Indexed Job: counters mean nothing': {
      world: {
        jobs: [
          job({
            failed: 'MaxFailedIndexesExceeded',
            spec: { completionMode: 'Indexed', completions: 9, parallelism: 3, backoffLimit: 2_147_483_647 },
            status: { failed: 2, succeeded: 5 },
          }),
        ],
      },
      verdict: 'crash JobFailed',
    },
    'a Job that another controller manages': {
      world: { jobs: [job({ failed: 'Whatever', spec: { managedBy: 'example.com/controller' } })] },
      verdict: 'crash JobFailed',
    },
    'pods that cannot start: told, with what to do': {
      world: { jobs: [job()], pods: [pod({ waiting: 'CreateContainerConfigError' })] },
      verdict: 'report StartIsStuck',
      with: { diagnosis: { code: 'container_config_error', resolution: /Secret, ConfigMap/ } },
    },
  })
})

t.test("Prefect's own observer ends these live runs, or would have", async t => {
  showThat(t, {
    'the old Job was removed, the new one is active, and the list of Jobs fails': {
      world: {
        jobs: [job({ failed: 'BackoffLimitExceeded', gone: 40 })],
        live: { jobs: UNKNOWN, pods: UNKNOWN },
      },
      verdict: 'requeue JobsUnknown',
    },
    'a pod failed and Kubernetes starts the next one (PrefectHQ/prefect#22620, #16429)': {
      world: {
        jobs: [job({ spec: { backoffLimit: 2 }, status: { failed: 1, active: 1 } })],
        pods: [pod({ oom: true }), pod({ name: 'etl-b', unstarted: true })],
      },
      verdict: 'requeue NothingHasStarted',
    },
    'a Job is deleted, and its flow handles SIGTERM': {
      world: { jobs: [job({ gone: 30 })], pods: [pod({ due: 62 })] },
      verdict: 'nothing PodIsNotTerminal',
    },
    'the flow rescheduled itself on SIGTERM, and the old Job fails afterwards': {
      world: {
        now: 41,
        jobs: [job({ failed: 'BackoffLimitExceeded', ended: 40 })],
        pods: [pod({ exitCode: 0, gone: 39 })],
        run: run({ state: 'Pending@36' }),
        states: states('Scheduled@-2', 'Pending@-1', 'Running@5', 'AwaitingRetry@35', 'Pending@36'),
      },
      verdict: 'requeue JobIsToCome',
    },
    'a worker took the run up for another attempt while the old Job was still failing': {
      world: {
        now: 60,
        jobs: [job({ failed: 'DeadlineExceeded', ended: 50 }), job({ name: 'etl-2', created: 48 })],
        pods: [pod({ exitCode: 1 }), pod({ name: 'etl-2-a', of: 'etl-2' })],
        run: run({ state: 'Running@52' }),
      },
      verdict: 'nothing JobIsActive',
    },
    'a suspended Job': { world: { jobs: [job({ suspended: true })] }, verdict: 'nothing JobIsSuspended' },
  })
})

t.test(
  'a run without heartbeats is alive while its pod is (PrefectHQ/prefect#16459, #18653, #20887, #21932)',
  async t => {
    showThat(t, {
      'its event loop is blocked, or events do not arrive': {
        world: { now: 7200, jobs: [job()], pods: [pod()] },
        verdict: 'nothing JobIsActive',
        asked: [],
      },
    })
  },
)

t.test('others have been wrong about these', async t => {
  const dead = job({ failed: 'BackoffLimitExceeded' })
  showThat(t, {
    'a pod was deleted before its Job noticed (argoproj/argo-workflows#4565)': {
      world: { jobs: [job({ spec: { backoffLimit: 1 } })], pods: [pod({ exitCode: 143, gone: 30 })] },
      verdict: 'requeue NothingHasStarted',
    },
    'a pending pod is deleted, and its Job is gone (argoproj/argo-workflows#2711)': {
      world: {
        now: 90,
        jobs: [job({ gone: 40 })],
        pods: [pod({ unstarted: true, on: null, gone: 40 })],
        run: run({ state: 'Pending@1', runCount: 0 }),
        states: states('Scheduled@0', 'Pending@1'),
      },
      verdict: 'crash JobDeleted',
    },
    'the pod was collected before anybody read it (argoproj/argo-workflows#7466, flyteorg/flyte#5272)': {
      world: { jobs: [dead], pods: [pod({ oom: true, gone: 31 })] },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'oom_killed' } },
    },
    'the watch missed that a running pod was deleted (apache/airflow#17693)': {
      world: { now: 100, jobs: [job({ gone: { unseen: 60 } })], pods: [pod({ gone: { unseen: 60 } })] },
      verdict: 'crash JobDeleted',
    },
    'a pod is Pending for ever (apache/airflow#15218)': {
      world: { now: 86_400, jobs: [job()], pods: [pod({ waiting: 'ErrImagePull' })] },
      verdict: 'report StartIsStuck',
    },
    'no pod of a Job can ever be made, and its counters never move (dagster-io/dagster#24595)': {
      world: { jobs: [job()], events: [warning('FailedCreate', { kind: 'Job', name: 'etl', seen: 4 })] },
      verdict: 'report StartIsStuck',
      with: { diagnosis: { code: 'pod_creation_failed' } },
    },
    'a TTL removed the Job of a run that Completed (dagster-io/dagster#22565)': {
      world: { now: 90, jobs: [job({ complete: true, gone: 40 })], run: run({ state: 'Completed@28' }) },
      verdict: 'nothing FlowRunIsFinal',
    },
    'one request to the API server failed (dagster-io/dagster#33209)': {
      world: { jobs: UNKNOWN, pods: UNKNOWN },
      verdict: 'requeue JobsUnknown',
    },
    'a run is ended because it does not start, and then its pod starts (dagster-io/dagster#15325, flyteorg/flyte#3239)':
      {
        world: {
          now: 700,
          run: run({ state: 'Pending@0', runCount: 0 }),
          jobs: [job()],
          pods: [pod({ waiting: 'ImagePullBackOff' })],
          settings: { stuckStart: 'crash-and-suspend' },
        },
        verdict: 'crash StartIsStuck',
        with: { suspend: true },
      },
    'out of memory and preempted look the same by exit code (dagster-io/dagster#34207)': {
      world: {
        jobs: [dead],
        pods: [
          pod({
            exitCode: 137,
            conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler' }],
          }),
        ],
      },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'preempted' } },
    },
    'a child of the process is killed for memory, and the process exits with 1 (flyteorg/flyte#4704)': {
      world: { jobs: [dead], pods: [pod({ exitCode: 1 })] },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'error_exit' } },
    },
    'a container is killed for memory while its pod goes on (tektoncd/pipeline#8170)': {
      world: { now: 4000, jobs: [job()], pods: [pod({ phase: 'Running', oom: true })] },
      verdict: 'nothing JobIsActive',
    },
    'evicted with exit code 0 (tektoncd/pipeline#6145)': {
      world: { jobs: [dead], pods: [pod({ phase: 'Failed', exitCode: 0, reason: 'Evicted' })] },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'evicted' } },
    },
    'the first of several pods is not the one that tells why (Netflix/metaflow)': {
      world: {
        jobs: [job({ failed: 'BackoffLimitExceeded', spec: { backoffLimit: 1 } })],
        pods: [pod({ exitCode: 1 }), pod({ name: 'etl-b', created: 12, oom: true })],
      },
      verdict: 'crash JobFailed',
      with: { diagnosis: { code: 'oom_killed', pod: 'etl-b' } },
    },
  })
})

t.test('the label of a run is no proof of whose Job it is', async t => {
  const spoofed = job({ name: 'spoofed', created: 20, failed: 'BackoffLimitExceeded' })
  showThat(t, {
    'a dead Job beside the real one': {
      world: { jobs: [spoofed, job()], pods: [pod()] },
      verdict: 'nothing JobIsActive',
    },
    'a dead Job, and the real one is not labelled': {
      world: { jobs: [spoofed], namedJob: job() },
      verdict: 'nothing AnotherJobIsNamed',
    },
    'a dead pod, and the real one is of another cluster': {
      world: { pods: [pod({ of: 'spoofed', exitCode: 1 })] },
      verdict: 'report NamedJobIsNotHere',
    },
  })
})
