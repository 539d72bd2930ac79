import t from 'tap'
import type { Test } from 'tap'
import type { DiagnosisCode } from '../../src/core/diagnosis/codes.ts'
import { diagnose } from '../../src/core/diagnosis/diagnose.ts'
import type { DiagnosisEvidence } from '../../src/core/diagnosis/diagnosis.ts'
import type { Node, ObjectMeta, Pod } from '../../src/core/objects.ts'
import type { Says } from '../fixtures/diagnosis.ts'
import { checkWords } from '../fixtures/diagnosis.ts'
import type { PodParts } from '../fixtures/kubernetes.ts'
import {
  aCompleteJob,
  aCondition,
  aContainer,
  aDeadPod,
  aFailedJob,
  aJob,
  anEnd,
  aPod,
  at,
  aWarning,
} from '../fixtures/kubernetes.ts'

interface Case {
  readonly evidence: Partial<DiagnosisEvidence>
  readonly rule: string
  readonly code: DiagnosisCode
  readonly says?: Says
}

/** A dead Job of one try whose pods are these. */
const died = (...pods: readonly Pod[]): Partial<DiagnosisEvidence> => ({
  job: aFailedJob('BackoffLimitExceeded'),
  pods,
})

const disrupted = (reason: string, message = `${reason}: so it was`): PodParts => ({
  status: { conditions: [aCondition('DisruptionTarget', { reason, message, lastTransitionTime: at(15) })] },
})

const node = (parts: Partial<Node>): Node => ({ name: 'node-1', ready: 'True', ...parts })

const deletedAt = (seconds: number, deletionGracePeriodSeconds: number): Partial<ObjectMeta> => ({
  deletionTimestamp: at(seconds + deletionGracePeriodSeconds),
  deletionGracePeriodSeconds,
})

const tables: Readonly<Record<string, Readonly<Record<string, Case>>>> = {
  'what was done to the pod as a whole': {
    'kubelet evicted it': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 137 },
          { status: { reason: 'Evicted', message: 'The node was low on memory.' } },
        ),
      ),
      rule: 'PodEvicted',
      code: 'evicted',
      says: { category: 'Evicted', level: 'warning', pod: 'a', node: 'node-1', detail: 'low on memory' },
    },
    'its container says that it was evicted': {
      evidence: died(aDeadPod('a', { exitCode: 137, reason: 'Evicted' })),
      rule: 'PodEvicted',
      code: 'evicted',
    },
    'its own activeDeadlineSeconds ran out': {
      evidence: died(
        aDeadPod('a', { exitCode: 143 }, { status: { reason: 'DeadlineExceeded', message: 'too long' } }),
      ),
      rule: 'PodDeadlineExceeded',
      code: 'deadline_exceeded',
      says: { detail: 'too long' },
    },
    'the scheduler preempted it': {
      evidence: died(aDeadPod('a', { exitCode: 143 }, disrupted('PreemptionByScheduler'))),
      rule: 'PodPreempted',
      code: 'preempted',
      says: { detail: 'so it was' },
    },
    'kubelet preempted it for a critical pod': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 137 },
          { status: { reason: 'Preempting', message: 'Preempted in order to admit' } },
        ),
      ),
      rule: 'PodPreempted',
      code: 'preempted',
      says: { detail: 'Preempted in order' },
    },
    'a drain evicted it through the API': {
      evidence: died(aDeadPod('a', { exitCode: 143 }, disrupted('EvictionByEvictionAPI'))),
      rule: 'PodDisrupted',
      code: 'evicted',
      says: { summary: 'EvictionByEvictionAPI' },
    },
    'something disrupted it and gave no reason': {
      evidence: died(
        aPod('a', {
          status: { phase: 'Failed', conditions: [{ type: 'DisruptionTarget', status: 'True' }] },
        }),
      ),
      rule: 'PodDisrupted',
      code: 'evicted',
      says: { summary: '(DisruptionTarget)' },
    },
    'kubelet marked it while it evicted it': {
      evidence: died(
        aDeadPod('a', { exitCode: 137 }, disrupted('TerminationByKubelet', 'The node was low on disk')),
      ),
      rule: 'PodDisrupted',
      code: 'evicted',
    },
    'a disruption that was taken back does not count': {
      evidence: died(
        aDeadPod('a', {}, { status: { conditions: [aCondition('DisruptionTarget', { status: 'False' })] } }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'the taint manager marked it long after it had failed': {
      evidence: died(
        aDeadPod(
          'a',
          { reason: 'OOMKilled', exitCode: 137 },
          {
            status: {
              conditions: [
                aCondition('DisruptionTarget', {
                  reason: 'DeletionByTaintManager',
                  lastTransitionTime: at(300),
                }),
              ],
            },
          },
        ),
      ),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
    },
    'its node was too full after all': {
      evidence: died(
        aPod('a', {
          status: { phase: 'Failed', reason: 'OutOfcpu', message: 'Node did not have enough cpu' },
        }),
      ),
      rule: 'PodRefusedByNode',
      code: 'unschedulable',
      says: { category: 'Unschedulable.InsufficientResources', detail: 'enough cpu' },
    },
    'its node did not match after all': {
      evidence: died(aPod('a', { status: { phase: 'Failed', reason: 'NodeAffinity' } })),
      rule: 'PodRefusedByNode',
      code: 'unschedulable',
      says: { category: 'Unschedulable.NodeAffinity' },
    },
    'its node could not give it a device': {
      evidence: died(aPod('a', { status: { phase: 'Failed', reason: 'UnexpectedAdmissionError' } })),
      rule: 'PodRefusedByNode',
      code: 'unschedulable',
      says: { category: 'Unschedulable' },
    },
    'it failed for a reason that we do not know': {
      evidence: died(
        aPod('a', {
          status: { phase: 'Failed', reason: 'Novel', message: 'a novelty', containerStatuses: [] },
        }),
      ),
      rule: 'PodFailed',
      code: 'unknown',
      says: { summary: 'Novel', detail: 'a novelty' },
    },
  },

  'the node': {
    'pod garbage collection found it gone': {
      evidence: died(aDeadPod('a', { exitCode: 137 }, disrupted('DeletionByPodGC'))),
      rule: 'NodeLost',
      code: 'node_lost',
      says: { node: 'node-1', detail: 'DeletionByPodGC: so it was' },
    },
    'the taint manager removed the pod, and nobody looked at the node': {
      evidence: died(aPod('a', { ...disrupted('DeletionByTaintManager'), metadata: deletedAt(15, 30) })),
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'the taint manager removed the pod, and the node came back since': {
      evidence: {
        ...died(aPod('a', { ...disrupted('DeletionByTaintManager'), metadata: deletedAt(15, 30) })),
        nodes: [node({ readySince: at(60) })],
      },
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'the taint manager removed the pod, and the node does not say since when it is Ready': {
      evidence: { ...died(aPod('a', disrupted('DeletionByTaintManager'))), nodes: [node({})] },
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'the taint manager removed the pod at a time unknown': {
      evidence: {
        ...died(
          aPod('a', {
            status: {
              conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'DeletionByTaintManager' }],
            },
          }),
        ),
        nodes: [node({ readySince: at(-9) })],
      },
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'somebody tainted a node that was Ready all the while': {
      evidence: {
        ...died(aPod('a', disrupted('DeletionByTaintManager'))),
        nodes: [node({ readySince: at(-3600) })],
      },
      rule: 'PodDisrupted',
      code: 'evicted',
    },
    'it shut down in good order': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 137 },
          {
            status: {
              reason: 'Terminated',
              message: 'Pod was terminated in response to imminent node shutdown.',
            },
          },
        ),
      ),
      rule: 'NodeLost',
      code: 'node_lost',
      says: { detail: 'imminent node shutdown' },
    },
    'it shut down, in the words of another kubelet': {
      evidence: died(aPod('a', { status: { phase: 'Failed', reason: 'NodeShutdown' } })),
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'it shut down, in the words of an old kubelet': {
      evidence: died(aPod('a', { status: { phase: 'Failed', reason: 'Shutdown' } })),
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'the node controller gave it up': {
      evidence: died(aPod('a', { status: { phase: 'Unknown', reason: 'NodeLost' } })),
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'it is not Ready, and the pod that should have ended hangs on it': {
      evidence: {
        job: aJob({
          status: { conditions: [aCondition('FailureTarget', { reason: 'BackoffLimitExceeded' })] },
        }),
        pods: [aPod('a', { metadata: deletedAt(15, 30) })],
        nodes: [node({ name: 'node-2' }), node({ ready: 'Unknown' })],
      },
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'it exists no longer, and the pod that should have ended hangs on it': {
      evidence: { ...died(aPod('a', { metadata: deletedAt(15, 30) })), nodes: [] },
      rule: 'NodeLost',
      code: 'node_lost',
    },
    'it is Ready: then the pod was deleted and no more': {
      evidence: { ...died(aPod('a', { metadata: deletedAt(15, 30) })), nodes: [node({})] },
      rule: 'PodDeleted',
      code: 'pod_deleted',
    },
    'a pod without a node is not on a lost one': {
      evidence: {
        job: aFailedJob('BackoffLimitExceeded'),
        pods: [
          {
            ...aPod('a', {
              metadata: deletedAt(15, 30),
              status: { phase: 'Pending', containerStatuses: [] },
            }),
            spec: { initContainers: [], containers: [{ name: 'prefect-job' }] },
          },
        ],
        nodes: [],
      },
      rule: 'PodDeleted',
      code: 'pod_deleted',
      says: { node: undefined },
    },
    'it exists no longer, and the pod had failed before': {
      evidence: { ...died(aDeadPod('a', { exitCode: 3 }, { metadata: deletedAt(25, 30) })), nodes: [] },
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'a pod that was not asked to end may still run there': {
      evidence: { ...died(aPod('a')), nodes: [] },
      rule: 'BackoffLimitExceeded',
      code: 'backoff_limit_exceeded',
    },
  },

  memory: {
    'the flow reached its limit': {
      evidence: died(aDeadPod('a', { exitCode: 137, reason: 'OOMKilled' })),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
      says: {
        category: 'OOMKilled',
        level: 'error',
        container: 'prefect-job',
        exitCode: 137,
        signal: 'SIGKILL',
        summary: "Container 'prefect-job' was killed because it reached its memory limit of 512Mi.",
        resolution: 'memory_limit',
      },
    },
    'it ran out without a limit': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 137, reason: 'OOMKilled' },
          {
            spec: { containers: [{ name: 'prefect-job' }] },
          },
        ),
      ),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
      says: { summary: 'no limit of its own' },
    },
    'a child process was killed and PID 1 ended with 1': {
      evidence: died(aDeadPod('a', { exitCode: 1, reason: 'OOMKilled' })),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
      says: { exitCode: 1, signal: undefined, summary: 'A process in container' },
    },
    'a child process was killed and PID 1 ended with 0': {
      evidence: {
        job: aCompleteJob(),
        pods: [aDeadPod('a', { exitCode: 0, reason: 'OOMKilled' }, { status: { phase: 'Succeeded' } })],
      },
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
      says: { exitCode: 0 },
    },
    'the container waits to be restarted after it ran out': {
      evidence: died(
        aPod('a', {
          metadata: deletedAt(40, 30),
          status: {
            containerStatuses: [
              aContainer(
                'prefect-job',
                { waiting: { reason: 'CrashLoopBackOff' } },
                { restartCount: 3, lastState: anEnd({ exitCode: 137, reason: 'OOMKilled' }) },
              ),
            ],
          },
        }),
      ),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
    },
    'an init container ran out': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Failed',
            initContainerStatuses: [aContainer('fetch', anEnd({ exitCode: 137, reason: 'OOMKilled' }))],
            containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'PodInitializing' } })],
          },
        }),
      ),
      rule: 'InitContainerOutOfMemory',
      code: 'oom_killed',
      says: { container: 'fetch', resolution: 'container fetch' },
    },
    'a sidecar ran out and the flow failed with it': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 1 },
          {
            spec: { containers: [{ name: 'proxy', memoryLimit: '64Mi' }, { name: 'prefect-job' }] },
            status: {
              containerStatuses: [
                aContainer('prefect-job', anEnd({ finishedAt: at(25) })),
                aContainer('proxy', anEnd({ exitCode: 137, reason: 'OOMKilled' })),
              ],
            },
          },
        ),
      ),
      rule: 'SidecarOutOfMemory',
      code: 'oom_killed',
      says: { container: 'proxy', summary: '64Mi', resolution: 'container proxy' },
    },
    'a native sidecar ran out, was restarted, and the flow failed within the minute': {
      evidence: died(
        aDeadPod(
          'a',
          {},
          {
            spec: { initContainers: [{ name: 'proxy', restartPolicy: 'Always' }] },
            status: {
              initContainerStatuses: [
                aContainer(
                  'proxy',
                  { running: {} },
                  { lastState: anEnd({ exitCode: 137, reason: 'OOMKilled' }) },
                ),
              ],
            },
          },
        ),
      ),
      rule: 'SidecarOutOfMemory',
      code: 'oom_killed',
      says: { container: 'proxy' },
    },
    'a sidecar ran out an hour before the flow failed': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 3 },
          {
            spec: { initContainers: [{ name: 'proxy', restartPolicy: 'Always' }] },
            status: {
              initContainerStatuses: [
                aContainer(
                  'proxy',
                  { running: {} },
                  { lastState: anEnd({ exitCode: 137, reason: 'OOMKilled', finishedAt: at(-3600) }) },
                ),
              ],
            },
          },
        ),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'a sidecar ran out after the flow had failed': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 3 },
          {
            spec: { initContainers: [{ name: 'proxy', restartPolicy: 'Always' }] },
            status: {
              initContainerStatuses: [
                aContainer('proxy', anEnd({ exitCode: 137, reason: 'OOMKilled', finishedAt: at(21) })),
              ],
            },
          },
        ),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'a sidecar ran out at a time unknown': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 3 },
          {
            status: {
              containerStatuses: [
                aContainer('prefect-job', anEnd({})),
                aContainer('proxy', { terminated: { exitCode: 137, reason: 'OOMKilled' } }),
              ],
            },
          },
        ),
      ),
      rule: 'SidecarOutOfMemory',
      code: 'oom_killed',
    },
    'the flow ran out, and so had a sidecar: the flow counts': {
      evidence: died(
        aDeadPod(
          'a',
          {},
          {
            status: {
              containerStatuses: [
                aContainer('prefect-job', anEnd({ exitCode: 137, reason: 'OOMKilled' })),
                aContainer('proxy', anEnd({ exitCode: 137, reason: 'OOMKilled' })),
              ],
            },
          },
        ),
      ),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
      says: { container: 'prefect-job' },
    },
    'a sidecar ran out while the flow ended well': {
      evidence: died(
        aDeadPod(
          'a',
          {},
          {
            status: {
              containerStatuses: [
                aContainer('prefect-job', anEnd({ exitCode: 0, reason: 'Completed' })),
                aContainer('proxy', anEnd({ exitCode: 137, reason: 'OOMKilled' })),
              ],
            },
          },
        ),
      ),
      rule: 'SidecarFailed',
      code: 'error_exit',
      says: { container: 'proxy' },
    },
    'SIGKILL without a word is a suspicion, where a limit could be reached': {
      evidence: died(aDeadPod('a', { exitCode: 137 })),
      rule: 'OutOfMemorySuspected',
      code: 'oom_suspected',
      says: { category: undefined, signal: 'SIGKILL', summary: 'may have reached its memory limit of 512Mi' },
    },
    'SIGKILL without a word and without a limit is an end like others': {
      evidence: died(aDeadPod('a', { exitCode: 137 }, { spec: { containers: [{ name: 'prefect-job' }] } })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { exitCode: 137, signal: 'SIGKILL' },
    },
    'SIGKILL after a failed probe is no suspicion': {
      evidence: {
        ...died(aDeadPod('a', { exitCode: 137 })),
        events: [
          aWarning('Killing', 'a', {
            type: 'Normal',
            message: 'Container prefect-job failed liveness probe, will be restarted',
          }),
        ],
      },
      rule: 'ContainerStoppedByKubelet',
      code: 'error_exit',
      says: { detail: 'failed liveness probe', resolution: 'probe' },
    },
    'SIGKILL in a pod that was deleted some time is no suspicion': {
      evidence: {
        pods: [aDeadPod('a', { exitCode: 137 }, { metadata: deletedAt(25, 0) })],
        gone: { job: false, pods: ['a-uid'] },
      },
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'SIGKILL in a pod that was deleted after its Job had failed is a suspicion': {
      evidence: {
        ...died(aDeadPod('a', { exitCode: 137 }, { metadata: deletedAt(60, 0) })),
        gone: { job: true, pods: ['a-uid'] },
      },
      rule: 'OutOfMemorySuspected',
      code: 'oom_suspected',
    },
    'kubelet could not find the container any more: its 137 is made up': {
      evidence: died(
        aDeadPod('a', { exitCode: 137, reason: 'ContainerStatusUnknown', message: 'not located' }),
      ),
      rule: 'ContainerEndUnseen',
      code: 'unknown',
      says: { detail: 'not located', exitCode: undefined, resolution: 'node node-1' },
    },
    'containerd lost the container in a restart: its 255 is made up': {
      evidence: died(aDeadPod('a', { exitCode: 255, reason: 'Unknown' })),
      rule: 'ContainerEndUnseen',
      code: 'unknown',
    },
    'nobody saw the last end, but the one before': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Failed',
            containerStatuses: [
              aContainer('prefect-job', anEnd({ exitCode: 137, reason: 'ContainerStatusUnknown' }), {
                lastState: anEnd({ exitCode: 137, reason: 'OOMKilled' }),
              }),
            ],
          },
        }),
      ),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
    },
  },

  'the containers': {
    'an init container failed': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Failed',
            initContainerStatuses: [aContainer('fetch', anEnd({ exitCode: 7, message: 'no such bucket' }))],
            containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'PodInitializing' } })],
          },
        }),
      ),
      rule: 'InitContainerFailed',
      code: 'init_container_failed',
      says: { container: 'fetch', exitCode: 7, summary: 'exited with code 7', detail: 'no such bucket' },
    },
    'an init container was stopped because the pod was deleted': {
      evidence: {
        pods: [
          aPod('a', {
            metadata: deletedAt(15, 30),
            status: {
              phase: 'Failed',
              initContainerStatuses: [aContainer('fetch', anEnd({ exitCode: 143 }))],
              containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'PodInitializing' } })],
            },
          }),
        ],
      },
      rule: 'PodDeleted',
      code: 'pod_deleted',
    },
    'the flow exited with an error': {
      evidence: died(aDeadPod('a', { exitCode: 3, message: 'boom\n  at line 1' })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: {
        exitCode: 3,
        signal: undefined,
        detail: 'boom at line 1',
        resolution: 'kubectl logs a -c prefect-job -n team',
      },
    },
    'a signal ended the flow': {
      evidence: died(aDeadPod('a', { exitCode: 139 })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { signal: 'SIGSEGV', summary: 'was ended by SIGSEGV (exit code 139)' },
    },
    'Kubernetes names the signal itself': {
      evidence: died(aDeadPod('a', { exitCode: 1, signal: 6 })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { signal: 'SIGABRT' },
    },
    'the command does not exist': {
      evidence: died(aDeadPod('a', { exitCode: 127 })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { resolution: 'not found' },
    },
    'the runtime could not start the command': {
      evidence: died(
        aDeadPod('a', {
          exitCode: 128,
          reason: 'StartError',
          message: 'exec: "prefcet": not found in $PATH',
        }),
      ),
      rule: 'ContainerDidNotStart',
      code: 'container_start_error',
      says: { summary: 'StartError', detail: 'prefcet' },
    },
    'an older runtime could not start the command': {
      evidence: died(aDeadPod('a', { exitCode: 127, reason: 'ContainerCannotRun' })),
      rule: 'ContainerDidNotStart',
      code: 'container_start_error',
    },
    'the last end counts, not the one before': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Failed',
            containerStatuses: [
              aContainer('prefect-job', anEnd({ exitCode: 3 }), {
                restartCount: 1,
                lastState: anEnd({ exitCode: 137, reason: 'OOMKilled' }),
              }),
            ],
          },
        }),
      ),
      rule: 'ContainerKeptCrashing',
      code: 'crash_loop_backoff',
    },
    'a container that was restarted and lost crashed no more that we know': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Failed',
            containerStatuses: [
              aContainer('prefect-job', anEnd({ exitCode: 255, reason: 'Unknown' }), { restartCount: 1 }),
            ],
          },
        }),
      ),
      rule: 'ContainerEndUnseen',
      code: 'unknown',
    },
    'a sidecar that failed while the pod succeeded explains nothing': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Succeeded',
            containerStatuses: [
              aContainer('prefect-job', anEnd({ exitCode: 0 })),
              aContainer('proxy', anEnd({ exitCode: 2 })),
            ],
          },
        }),
      ),
      rule: 'BackoffLimitExceeded',
      code: 'backoff_limit_exceeded',
    },
    'the flow was restarted until the Job gave up': {
      evidence: died(
        aPod('a', {
          metadata: deletedAt(40, 30),
          status: {
            phase: 'Failed',
            containerStatuses: [aContainer('prefect-job', anEnd({ exitCode: 3 }), { restartCount: 2 })],
          },
        }),
      ),
      rule: 'ContainerKeptCrashing',
      code: 'crash_loop_backoff',
      says: { category: 'CrashLoopBackOff', cause: 'error_exit', exitCode: 3, summary: 'after 2 restarts' },
    },
    'the flow was restarted because its probe failed again and again': {
      evidence: {
        ...died(
          aPod('a', {
            status: {
              phase: 'Failed',
              containerStatuses: [aContainer('prefect-job', anEnd({ exitCode: 137 }), { restartCount: 5 })],
            },
          }),
        ),
        events: [
          aWarning('Killing', 'a', {
            message: 'Container prefect-job failed liveness probe, will be restarted',
          }),
        ],
      },
      rule: 'ContainerKeptCrashing',
      code: 'crash_loop_backoff',
    },
    'the flow was restarted once': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Failed',
            containerStatuses: [aContainer('prefect-job', anEnd({}), { restartCount: 1 })],
          },
        }),
      ),
      rule: 'ContainerKeptCrashing',
      code: 'crash_loop_backoff',
      says: { summary: 'after 1 restart it' },
    },
    'the flow ended well after a restart, and its sidecar did not': {
      evidence: died(
        aPod('a', {
          status: {
            phase: 'Failed',
            containerStatuses: [
              aContainer('prefect-job', anEnd({ exitCode: 0 }), { restartCount: 1 }),
              aContainer('proxy', anEnd({ exitCode: 2 })),
            ],
          },
        }),
      ),
      rule: 'SidecarFailed',
      code: 'error_exit',
      says: { container: 'proxy', exitCode: 2 },
    },
    'kubelet stopped a container that then ended well': {
      evidence: {
        ...died(aDeadPod('a', { exitCode: 0 })),
        events: [aWarning('Killing', 'a', { message: 'Stopping container prefect-job' })],
      },
      rule: 'BackoffLimitExceeded',
      code: 'backoff_limit_exceeded',
    },
    'no container is called prefect-job: the first one runs the flow': {
      evidence: died(
        aPod('a', {
          spec: { containers: [{ name: 'flow' }, { name: 'proxy' }] },
          status: {
            phase: 'Failed',
            containerStatuses: [
              aContainer('proxy', anEnd({ exitCode: 2 })),
              aContainer('flow', anEnd({ exitCode: 4 })),
            ],
          },
        }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { container: 'flow', exitCode: 4 },
    },
  },

  'a pod that was deleted': {
    'it was running when it was last seen': {
      evidence: { ...died(aPod('a')), gone: { job: false, pods: ['a-uid'] } },
      rule: 'PodDeleted',
      code: 'pod_deleted',
      says: { pod: 'a', container: undefined, exitCode: undefined },
    },
    'it was running again after it had run out of memory': {
      evidence: {
        ...died(
          aPod('a', {
            status: {
              containerStatuses: [
                aContainer(
                  'prefect-job',
                  { running: {} },
                  { lastState: anEnd({ exitCode: 137, reason: 'OOMKilled' }) },
                ),
              ],
            },
          }),
        ),
        gone: { job: false, pods: ['a-uid'] },
      },
      rule: 'PodDeleted',
      code: 'pod_deleted',
    },
    'its sidecar ran out of memory while it was being deleted': {
      evidence: died(
        aDeadPod(
          'a',
          {},
          {
            metadata: deletedAt(15, 30),
            status: {
              containerStatuses: [
                aContainer('prefect-job', anEnd({ exitCode: 143 })),
                aContainer('proxy', anEnd({ exitCode: 137, reason: 'OOMKilled' })),
              ],
            },
          },
        ),
      ),
      rule: 'PodDeleted',
      code: 'pod_deleted',
    },
    'its flow ran out of memory while it was being deleted': {
      evidence: died(aDeadPod('a', { exitCode: 137, reason: 'OOMKilled' }, { metadata: deletedAt(15, 30) })),
      rule: 'MainContainerOutOfMemory',
      code: 'oom_killed',
    },
    'its flow ended after the deletion was asked for': {
      evidence: died(aDeadPod('a', { exitCode: 143 }, { metadata: deletedAt(20, 30) })),
      rule: 'PodDeleted',
      code: 'pod_deleted',
      says: { exitCode: 143, signal: 'SIGTERM', container: 'prefect-job' },
    },
    'its flow had ended before the deletion was asked for': {
      evidence: died(aDeadPod('a', { exitCode: 3 }, { metadata: deletedAt(21, 30) })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'kubelet stopped its container': {
      evidence: {
        ...died(aDeadPod('a', { exitCode: 1 }, { metadata: deletedAt(22, 0) })),
        events: [
          aWarning('Killing', 'b', { message: 'Stopping container prefect-job' }),
          aWarning('Killing', 'a', { message: 'Stopping container prefect-job' }),
        ],
      },
      rule: 'PodDeleted',
      code: 'pod_deleted',
    },
    'kubelet stopped another container than the flow’s': {
      evidence: {
        pods: [aDeadPod('a', { exitCode: 1 }, { metadata: deletedAt(22, 0) })],
        events: [
          aWarning('Killing', 'a', { message: 'Stopping container prefect-job-proxy' }),
          aWarning('Unhealthy', 'a', { message: 'container prefect-job' }),
        ],
      },
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'its flow ended after its Job had given up': {
      evidence: died(aDeadPod('a', { exitCode: 1, finishedAt: at(33) }, { metadata: deletedAt(34, 0) })),
      rule: 'PodDeleted',
      code: 'pod_deleted',
    },
    'its flow ended after its Job had failed, as older Kubernetes says without an announcement': {
      evidence: {
        job: aJob({
          status: {
            conditions: [
              aCondition('Suspended', { status: 'False', lastTransitionTime: at(1) }),
              aCondition('FailureTarget', { status: 'False', lastTransitionTime: at(2) }),
              aCondition('SuccessCriteriaMet', { lastTransitionTime: at(3) }),
              aCondition('Failed', { reason: 'BackoffLimitExceeded', lastTransitionTime: at(30) }),
            ],
          },
        }),
        pods: [
          aDeadPod('a', { exitCode: 1, finishedAt: at(33) }, { metadata: deletedAt(34, 0) }),
          aDeadPod('b', { exitCode: 9, finishedAt: at(29) }, { metadata: deletedAt(34, 0) }),
        ],
      },
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'b' },
    },
    'nobody knows when its Job gave up': {
      evidence: {
        job: aJob({
          status: { conditions: [{ type: 'Failed', status: 'True', reason: 'BackoffLimitExceeded' }] },
        }),
        pods: [aDeadPod('a', { exitCode: 1, finishedAt: at(33) }, { metadata: deletedAt(34, 0) })],
      },
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'its flow ended in the very second in which its Job gave up': {
      evidence: died(aDeadPod('a', { exitCode: 1, finishedAt: at(30) }, { metadata: deletedAt(34, 0) })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'nobody knows when its flow ended': {
      evidence: {
        job: aFailedJob('BackoffLimitExceeded'),
        pods: [
          aPod('a', {
            metadata: deletedAt(15, 30),
            status: {
              phase: 'Failed',
              containerStatuses: [aContainer('prefect-job', { terminated: { exitCode: 1 } })],
            },
          }),
        ],
      },
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'it could not pull its image before': {
      evidence: {
        pods: [
          aPod('a', {
            metadata: deletedAt(15, 0),
            status: {
              phase: 'Pending',
              containerStatuses: [
                aContainer('prefect-job', { waiting: { reason: 'ErrImagePull', message: 'no' } }),
              ],
            },
          }),
        ],
        gone: { job: false, pods: ['a-uid'] },
      },
      rule: 'PodDeleted',
      code: 'pod_deleted',
      says: { cause: 'image_pull_backoff', container: 'prefect-job', detail: "Image 'etl:1'" },
    },
    'it has no Job and no container yet': {
      evidence: {
        pods: [aPod('a', { status: { phase: 'Pending', containerStatuses: [] } })],
        gone: { job: false, pods: ['a-uid'] },
      },
      rule: 'PodDeleted',
      code: 'pod_deleted',
    },
  },

  'the Job': {
    'it was deleted': {
      evidence: {
        job: aJob(),
        pods: [aDeadPod('a', { exitCode: 1 }, { metadata: deletedAt(15, 0) })],
        gone: { job: true, pods: ['a-uid'] },
      },
      rule: 'JobDeleted',
      code: 'job_deleted',
      says: {
        summary: "Job 'etl' was deleted",
        cause: undefined,
        pod: 'a',
        level: 'warning',
        resolution: 'delete jobs etl',
      },
    },
    'it was deleted while its pod could not start': {
      evidence: {
        job: aJob(),
        pods: [
          aPod('a', {
            status: {
              phase: 'Pending',
              containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'InvalidImageName' } })],
            },
          }),
        ],
        gone: { job: true, pods: ['a-uid'] },
      },
      rule: 'JobDeleted',
      code: 'job_deleted',
      says: { cause: 'invalid_image' },
    },
    'it was deleted after its pod had run out of memory': {
      evidence: {
        job: aJob(),
        pods: [aDeadPod('a', { exitCode: 137, reason: 'OOMKilled' })],
        gone: { job: true, pods: ['a-uid'] },
      },
      rule: 'JobDeleted',
      code: 'job_deleted',
      says: {
        cause: 'oom_killed',
        container: 'prefect-job',
        exitCode: 137,
        signal: 'SIGKILL',
        category: undefined,
      },
    },
    'it was deleted and nobody saw how its container ended': {
      evidence: {
        job: aJob(),
        pods: [
          aDeadPod('a', { exitCode: 137, reason: 'ContainerStatusUnknown' }, { metadata: deletedAt(25, 30) }),
        ],
        gone: { job: true, pods: ['a-uid'] },
      },
      rule: 'JobDeleted',
      code: 'job_deleted',
      says: { cause: undefined },
    },
    'it is gone and was never seen': {
      evidence: { gone: { job: true, pods: [] } },
      rule: 'JobDeleted',
      code: 'job_deleted',
      says: { summary: 'nobody saw how it ended', resolution: '<job>' },
    },
    'it was removed after it had failed': {
      evidence: { ...died(aDeadPod('a', { exitCode: 3 })), gone: { job: true, pods: ['a-uid'] } },
      rule: 'MainContainerFailed',
      code: 'error_exit',
    },
    'it was removed after it had completed': {
      evidence: { job: aCompleteJob(), gone: { job: true, pods: [] } },
      rule: 'ExitedWithoutReporting',
      code: 'exited_without_reporting',
    },
    'its activeDeadlineSeconds ran out': {
      evidence: {
        job: { ...aFailedJob('DeadlineExceeded'), spec: { suspend: false, activeDeadlineSeconds: 60 } },
        pods: [aDeadPod('a', { exitCode: 1 })],
      },
      rule: 'DeadlineExceeded',
      code: 'deadline_exceeded',
      says: { summary: 'activeDeadlineSeconds of 60.', detail: 'the Job failed', cause: undefined },
    },
    'its activeDeadlineSeconds ran out, and its pod hangs on a lost node': {
      evidence: {
        job: aJob({ status: { conditions: [aCondition('FailureTarget', { reason: 'DeadlineExceeded' })] } }),
        pods: [aPod('a', { metadata: deletedAt(30, 30) })],
        nodes: [],
      },
      rule: 'DeadlineExceeded',
      code: 'deadline_exceeded',
      says: { cause: 'node_lost' },
    },
    'its activeDeadlineSeconds ran out before any pod could be created': {
      evidence: {
        job: aFailedJob('DeadlineExceeded'),
        events: [aWarning('FailedCreate', 'etl', { message: 'exceeded quota: none' })],
      },
      rule: 'DeadlineExceeded',
      code: 'deadline_exceeded',
      says: { summary: 'activeDeadlineSeconds.', cause: 'pod_creation_failed', detail: 'exceeded quota' },
    },
    'its podFailurePolicy named the pod': {
      evidence: {
        job: aFailedJob(
          'PodFailurePolicy',
          'Container prefect-job for pod team/b failed with exit code 42 matching FailJob rule at index 0',
        ),
        pods: [
          aDeadPod('b', { exitCode: 42, finishedAt: at(10) }),
          aDeadPod('c', { exitCode: 5, finishedAt: at(20) }),
        ],
      },
      rule: 'PodFailurePolicy',
      code: 'pod_failure_policy',
      says: {
        pod: 'b',
        exitCode: 42,
        cause: 'error_exit',
        detail: 'matching FailJob rule at index 0',
        resolution: 'FailJob',
      },
    },
    'its podFailurePolicy, and nobody knows the pod': {
      evidence: { job: aFailedJob('PodFailurePolicy', '') },
      rule: 'PodFailurePolicy',
      code: 'pod_failure_policy',
      says: { cause: undefined, detail: undefined },
    },
    'it completed and the run was never reported as ended': {
      evidence: {
        job: aCompleteJob(),
        pods: [
          aDeadPod('b', { exitCode: 137, reason: 'OOMKilled', finishedAt: at(25) }),
          aDeadPod('a', { exitCode: 0, reason: 'Completed' }, { status: { phase: 'Succeeded' } }),
        ],
      },
      rule: 'ExitedWithoutReporting',
      code: 'exited_without_reporting',
      says: { pod: 'a', exitCode: 0, container: 'prefect-job' },
    },
    'it is about to complete, and its flow has ended': {
      evidence: { job: aJob({ status: { conditions: [aCondition('SuccessCriteriaMet', {})] } }) },
      rule: 'ExitedWithoutReporting',
      code: 'exited_without_reporting',
    },
    'it completed, as older Kubernetes says without an announcement': {
      evidence: { job: aJob({ status: { conditions: [aCondition('Complete', {})] } }) },
      rule: 'ExitedWithoutReporting',
      code: 'exited_without_reporting',
    },
    'it ran out of tries and no pod is left': {
      evidence: { job: aFailedJob('BackoffLimitExceeded') },
      rule: 'BackoffLimitExceeded',
      code: 'backoff_limit_exceeded',
      says: { detail: 'the Job failed' },
    },
    'it ran out of tries and its pods do not say why': {
      evidence: died(aPod('a', { status: { phase: 'Failed', containerStatuses: [] } })),
      rule: 'BackoffLimitExceeded',
      code: 'backoff_limit_exceeded',
    },
    'it has failed indexes and no pod is left': {
      evidence: { job: aFailedJob('FailedIndexes') },
      rule: 'BackoffLimitExceeded',
      code: 'backoff_limit_exceeded',
      says: { summary: 'backoffLimitPerIndex' },
    },
    'it has too many failed indexes and no pod is left': {
      evidence: { job: aFailedJob('MaxFailedIndexesExceeded') },
      rule: 'BackoffLimitExceeded',
      code: 'backoff_limit_exceeded',
      says: { summary: 'maxFailedIndexes' },
    },
    'it failed for a reason that Kubernetes did not have before': {
      evidence: { job: aFailedJob('Novel') },
      rule: 'JobFailed',
      code: 'unknown',
      says: { summary: 'Novel' },
    },
    'it failed and gives no reason': {
      evidence: { job: aJob({ status: { conditions: [{ type: 'Failed', status: 'True' }] } }) },
      rule: 'JobFailed',
      code: 'unknown',
      says: { summary: 'no reason given' },
    },
    'its pods could never be created': {
      evidence: {
        job: aFailedJob('BackoffLimitExceeded'),
        events: [aWarning('FailedCreate', 'etl', { message: 'error looking up serviceaccount' })],
      },
      rule: 'PodsNotCreated',
      code: 'pod_creation_failed',
    },
    'it is alive and well': {
      evidence: { job: aJob(), pods: [aPod('a')] },
      rule: 'NothingExplainsIt',
      code: 'unknown',
    },
    'nothing is known at all': {
      evidence: {},
      rule: 'NothingExplainsIt',
      code: 'unknown',
    },
  },

  'of several pods': {
    'the last to fail explains the end': {
      evidence: died(
        aDeadPod('c', { exitCode: 137, reason: 'OOMKilled', finishedAt: at(10) }),
        aDeadPod('a', { exitCode: 3, finishedAt: at(28) }),
        aDeadPod('b', { exitCode: 4, finishedAt: at(20) }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a', exitCode: 3 },
    },
    'one that the Job ended does not explain why': {
      evidence: died(
        aDeadPod('a', { exitCode: 3, finishedAt: at(28) }),
        aDeadPod('b', { exitCode: 143, finishedAt: at(35) }, { metadata: deletedAt(31, 30) }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a' },
    },
    'one that succeeded does not explain why': {
      evidence: died(
        aDeadPod('a', { exitCode: 3, finishedAt: at(20) }),
        aDeadPod('b', { exitCode: 0, finishedAt: at(28) }, { status: { phase: 'Succeeded' } }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a' },
    },
    'one that was evicted and ended well explains why': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 0 },
          {
            status: {
              phase: 'Succeeded',
              conditions: disrupted('EvictionByEvictionAPI').status?.conditions ?? [],
            },
          },
        ),
      ),
      rule: 'PodDisrupted',
      code: 'evicted',
    },
    'an index that succeeded in the end does not explain a failed index': {
      evidence: {
        job: aFailedJob('FailedIndexes'),
        pods: [
          indexed('a', '0', aDeadPod('a', { exitCode: 3, finishedAt: at(10) })),
          indexed('b', '1', aDeadPod('b', { exitCode: 4, finishedAt: at(20) })),
          indexed('c', '1', aDeadPod('c', { exitCode: 0 }, { status: { phase: 'Succeeded' } })),
        ],
      },
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a', exitCode: 3 },
    },
    'the youngest counts where they failed in the same second': {
      evidence: died(
        aDeadPod('b', { exitCode: 4 }),
        aDeadPod('a', { exitCode: 3 }, { metadata: { creationTimestamp: at(5) } }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a' },
    },
    'twins are told apart by UID, the same way each time': {
      evidence: died(aDeadPod('b', { exitCode: 4 }), aDeadPod('a', { exitCode: 3 })),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'b' },
    },
    'one that failed in the very second in which the Job gave up explains why': {
      evidence: died(
        aDeadPod('a', { exitCode: 3, finishedAt: at(30) }),
        aDeadPod('b', { exitCode: 4, finishedAt: at(29) }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a' },
    },
    'one that a disruption took counts from the disruption on': {
      evidence: died(
        aDeadPod('a', { exitCode: 143, finishedAt: at(33) }, disrupted('EvictionByEvictionAPI')),
        aDeadPod('b', { exitCode: 143, finishedAt: at(35) }, { metadata: deletedAt(31, 30) }),
      ),
      rule: 'PodDisrupted',
      code: 'evicted',
      says: { pod: 'a' },
    },
    'one with two failed containers failed with the last of them': {
      evidence: died(
        aDeadPod(
          'a',
          {},
          {
            status: {
              containerStatuses: [
                aContainer('prefect-job', anEnd({ exitCode: 3, finishedAt: at(10) })),
                aContainer('proxy', anEnd({ exitCode: 1, finishedAt: at(25) })),
              ],
            },
          },
        ),
        aDeadPod('b', { exitCode: 4, finishedAt: at(20) }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a', exitCode: 3 },
    },
    'one that was deleted early gives way to one created late': {
      evidence: {
        job: aFailedJob('BackoffLimitExceeded'),
        pods: [
          aPod('a', { metadata: { creationTimestamp: at(20) } }),
          aPod('b', { metadata: { deletionTimestamp: at(9) } }),
        ],
        gone: { job: false, pods: ['a-uid', 'b-uid'] },
      },
      rule: 'PodDeleted',
      code: 'pod_deleted',
      says: { pod: 'a' },
    },
    'one without an owner is not the Job’s': {
      evidence: died(
        aDeadPod('a', { exitCode: 3, finishedAt: at(10) }),
        aDeadPod('b', { exitCode: 4, finishedAt: at(20) }, { metadata: { ownerReferences: [] } }),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a' },
    },
    'those of an older Job do not count': {
      evidence: died(
        aDeadPod('a', { exitCode: 3, finishedAt: at(10) }),
        aDeadPod(
          'b',
          { exitCode: 4, finishedAt: at(20) },
          {
            metadata: {
              ownerReferences: [{ kind: 'Job', name: 'etl', uid: 'older-job-uid', controller: true }],
            },
          },
        ),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a' },
    },
    'one that was orphaned is known by its label': {
      evidence: died(
        aDeadPod(
          'a',
          { exitCode: 3 },
          {
            metadata: { ownerReferences: [], labels: { 'batch.kubernetes.io/controller-uid': 'job-uid' } },
          },
        ),
      ),
      rule: 'MainContainerFailed',
      code: 'error_exit',
      says: { pod: 'a' },
    },
  },
}

function indexed(name: string, index: string, pod: Pod): Pod {
  const labels = { 'batch.kubernetes.io/job-completion-index': index }
  return { ...pod, metadata: { ...pod.metadata, name, labels } }
}

function check(t: Test, sentence: string, { evidence, rule, code, says = {} }: Case): void {
  const { diagnosis, ...found } = diagnose({ pods: [], events: [], ...evidence })
  t.strictSame({ rule: found.rule, code: diagnosis.code }, { rule, code }, sentence)
  checkWords(t, sentence, { diagnosis, says })
}

for (const [topic, cases] of Object.entries(tables)) {
  t.test(topic, t => {
    for (const [sentence, parts] of Object.entries(cases)) check(t, sentence, parts)
    t.end()
  })
}
