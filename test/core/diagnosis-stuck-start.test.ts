import t from 'tap'
import type { DiagnosisCode } from '../../src/core/diagnosis/codes.ts'
import { isStuckStartCode } from '../../src/core/diagnosis/codes.ts'
import { stuckStart } from '../../src/core/diagnosis/diagnose.ts'
import type { DiagnosisEvidence } from '../../src/core/diagnosis/diagnosis.ts'
import type { Condition, ContainerStatus, Instant, KubernetesEvent, Pod } from '../../src/core/objects.ts'
import type { Says } from '../fixtures/diagnosis.ts'
import { checkWords } from '../fixtures/diagnosis.ts'
import type { PodParts } from '../fixtures/kubernetes.ts'
import {
  aCompleteJob,
  aCondition,
  aContainer,
  aFailedJob,
  aJob,
  anEnd,
  aPod,
  at,
  aWarning,
  NOON,
} from '../fixtures/kubernetes.ts'

interface Stuck {
  readonly evidence: Partial<DiagnosisEvidence>
  readonly code: DiagnosisCode
  readonly rule: string
  readonly since: Instant
  readonly says?: Says
}

/** A pod whose flow's container waits for that reason, and which was scheduled two seconds after noon. */
function waiting(reason: string, message = '', parts: Partial<ContainerStatus> = {}): Pod {
  return aPod('a', {
    status: {
      phase: 'Pending',
      conditions: [aCondition('PodScheduled', { lastTransitionTime: at(2) })],
      containerStatuses: [aContainer('prefect-job', { waiting: { reason, message } }, parts)],
    },
  })
}

function unscheduled(message: string | undefined, parts: Partial<Condition> = {}): Pod {
  const condition: Condition = { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', ...parts }
  const conditions = [{ ...condition, ...(message !== undefined && { message }) }]
  return aPod('a', { status: { phase: 'Pending', conditions, containerStatuses: [] } })
}

const creating = (parts: PodParts['status'] = {}): Pod =>
  aPod('a', {
    status: {
      phase: 'Pending',
      containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'ContainerCreating' } })],
      ...parts,
    },
  })

const refused = (message: string): Partial<DiagnosisEvidence> => ({
  job: aJob({ status: { active: 0 } }),
  events: [aWarning('FailedCreate', 'etl', { message })],
})

const namedB = (): Pick<Pod, 'metadata'> => ({ metadata: aPod('b').metadata })

const crashes = (parts: Partial<KubernetesEvent>): KubernetesEvent =>
  aWarning('BackOff', 'a', { message: 'Back-off restarting failed container prefect-job in pod a', ...parts })

const stuck: Readonly<Record<string, Stuck>> = {
  'the image cannot be pulled': {
    evidence: { pods: [waiting('ErrImagePull', 'failed to resolve reference')] },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: at(2),
    says: {
      category: 'ImagePullError',
      summary: "Image 'etl:1' of container 'prefect-job'",
      detail: 'failed to resolve reference',
    },
  },
  'the image of an init container cannot be pulled': {
    evidence: {
      pods: [
        aPod('a', {
          spec: { initContainers: [{ name: 'fetch', image: 'fetch:9' }] },
          status: {
            phase: 'Pending',
            initContainerStatuses: [aContainer('fetch', { waiting: { reason: 'ImagePullBackOff' } })],
            containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'PodInitializing' } })],
          },
        }),
      ],
    },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: NOON,
    says: { summary: "Image 'fetch:9' of container 'fetch'" },
  },
  'an older kubelet says in an Event only why the image cannot be pulled': {
    evidence: {
      pods: [waiting('ImagePullBackOff', 'Back-off pulling image "etl:1"')],
      events: [
        aWarning('Failed', 'a', { message: 'Failed to pull image "etl:1": unauthorized', lastSeen: at(8) }),
        aWarning('Failed', 'a', { message: 'Error: ErrImagePull', lastSeen: at(9) }),
      ],
    },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: at(8),
    says: { detail: 'unauthorized' },
  },
  'a newer kubelet says in the container’s own state why the image cannot be pulled': {
    evidence: {
      pods: [waiting('ImagePullBackOff', 'Back-off pulling image "etl:1": ErrImagePull: not found')],
      events: [aWarning('Failed', 'a', { message: 'Failed to pull image "etl:1": unauthorized' })],
    },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: at(10),
    says: { detail: 'ErrImagePull: not found' },
  },
  'the name of the image is none': {
    evidence: { pods: [waiting('InvalidImageName', 'couldn’t parse image name "ETL:1"')] },
    code: 'invalid_image',
    rule: 'ContainerWaiting',
    since: at(2),
  },
  'the image is unknown': {
    evidence: {
      pods: [
        aPod('a', {
          spec: { containers: [{ name: 'prefect-job' }] },
          status: {
            phase: 'Pending',
            containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'ErrImageNeverPull' } })],
          },
        }),
      ],
    },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: NOON,
    says: { summary: "Image '?'" },
  },
  'a Secret that the container wants is missing': {
    evidence: { pods: [waiting('CreateContainerConfigError', 'secret "s3" not found')] },
    code: 'container_config_error',
    rule: 'ContainerWaiting',
    since: at(2),
    says: { detail: 'secret "s3" not found', resolution: 'container prefect-job names in namespace team' },
  },
  'the runtime cannot start the container': {
    evidence: { pods: [waiting('RunContainerError', 'failed to create containerd task')] },
    code: 'container_start_error',
    rule: 'ContainerWaiting',
    since: at(2),
    says: { summary: 'RunContainerError' },
  },
  'the container keeps crashing': {
    evidence: {
      pods: [
        waiting('CrashLoopBackOff', 'back-off 5m0s', { restartCount: 7, lastState: anEnd({ exitCode: 3 }) }),
      ],
    },
    code: 'crash_loop_backoff',
    rule: 'ContainerWaiting',
    since: at(20),
    says: { category: 'CrashLoopBackOff', cause: 'error_exit', summary: 'restarts: 7' },
  },
  'the container keeps running out of memory': {
    evidence: {
      pods: [
        waiting('CrashLoopBackOff', '', {
          restartCount: 1,
          lastState: anEnd({ exitCode: 137, reason: 'OOMKilled', startedAt: at(15) }),
        }),
      ],
      events: [
        aWarning('Failed', 'a', {
          message: 'Failed to pull image "etl:1": a flaw long overcome',
          lastSeen: at(3),
        }),
        crashes({ count: 9, firstSeen: at(12), lastSeen: at(600) }),
      ],
    },
    code: 'crash_loop_backoff',
    rule: 'ContainerWaiting',
    since: at(12),
    says: { cause: 'oom_killed' },
  },
  'the container crashed again after it had run for long': {
    evidence: {
      pods: [
        waiting('CrashLoopBackOff', '', {
          restartCount: 2,
          lastState: anEnd({ startedAt: at(100), finishedAt: at(700) }),
        }),
      ],
      events: [crashes({ count: 2, firstSeen: at(12), lastSeen: at(700) })],
    },
    code: 'crash_loop_backoff',
    rule: 'ContainerWaiting',
    since: at(700),
  },
  'the container crashes, and the Event about it lost its first time': {
    evidence: {
      pods: [waiting('CrashLoopBackOff', '', { restartCount: 2, lastState: anEnd({}) })],
      events: [crashes({ count: 2, lastSeen: at(700) })],
    },
    code: 'crash_loop_backoff',
    rule: 'ContainerWaiting',
    since: at(20),
  },
  'the container crashed at a time unknown': {
    evidence: {
      pods: [waiting('CrashLoopBackOff', '', { lastState: { terminated: { exitCode: 1 } } })],
      events: [crashes({})],
    },
    code: 'crash_loop_backoff',
    rule: 'ContainerWaiting',
    since: at(10),
  },
  'the container crashed at a time unknown, and there is no Event': {
    evidence: { pods: [waiting('CrashLoopBackOff', '', { lastState: { terminated: { exitCode: 1 } } })] },
    code: 'crash_loop_backoff',
    rule: 'ContainerWaiting',
    since: at(2),
  },
  'a condition without a time tells no time': {
    evidence: {
      pods: [
        aPod('a', {
          status: {
            phase: 'Pending',
            conditions: [{ type: 'PodScheduled', status: 'True' }],
            containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'ErrImagePull' } })],
          },
        }),
      ],
    },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: NOON,
  },
  'the container is said to crash and nobody saw it': {
    evidence: { pods: [waiting('CrashLoopBackOff')] },
    code: 'crash_loop_backoff',
    rule: 'ContainerWaiting',
    since: at(2),
  },
  'an Event that repeats and lost its first time tells no time': {
    evidence: {
      pods: [waiting('ErrImagePull')],
      events: [
        aWarning('Failed', 'a', { count: 40, lastSeen: at(900) }),
        { ...aWarning('BackOff', 'a'), count: 2 },
      ],
    },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: at(2),
  },
  'no node is free': {
    evidence: {
      pods: [unscheduled('0/3 nodes are available: 3 Insufficient memory.', { lastTransitionTime: at(4) })],
    },
    code: 'unschedulable',
    rule: 'PodUnschedulable',
    since: at(4),
    says: {
      category: 'Unschedulable.InsufficientResources',
      detail: '3 Insufficient memory',
      resolution: 'memory_request',
    },
  },
  'no node matches': {
    evidence: {
      pods: [unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.")],
    },
    code: 'unschedulable',
    rule: 'PodUnschedulable',
    since: NOON,
    says: { category: 'Unschedulable.NodeAffinity', resolution: 'nodeSelector' },
  },
  'a taint is not tolerated, whatever else is missing': {
    evidence: {
      pods: [unscheduled('1 Insufficient cpu, 1 node(s) had untolerated taint {gpu: true}.')],
    },
    code: 'unschedulable',
    rule: 'PodUnschedulable',
    since: NOON,
    says: { category: 'Unschedulable.Taint', resolution: 'toleration' },
  },
  'a PersistentVolumeClaim is missing': {
    evidence: { pods: [unscheduled('persistentvolumeclaim "data" not found')] },
    code: 'unschedulable',
    rule: 'PodUnschedulable',
    since: NOON,
    says: { category: 'Unschedulable', resolution: 'kubectl get pvc -n team' },
  },
  'no node will do, for a reason that we do not know': {
    evidence: { pods: [unscheduled('0/1 nodes are available: 1 node(s) were shy.')] },
    code: 'unschedulable',
    rule: 'PodUnschedulable',
    since: NOON,
    says: { category: 'Unschedulable' },
  },
  'no node will do, and nobody says why': {
    evidence: { pods: [unscheduled(undefined)] },
    code: 'unschedulable',
    rule: 'PodUnschedulable',
    since: NOON,
    says: { category: 'Unschedulable' },
  },
  'a volume cannot be mounted': {
    evidence: {
      pods: [creating()],
      events: [
        aWarning('FailedMount', 'a', {
          count: 7,
          firstSeen: at(3),
          lastSeen: at(60),
          message: 'configmap "cm" not found',
        }),
        aWarning('FailedMount', 'a', { message: 'secret "s" not found', lastSeen: at(20) }),
        aWarning('FailedMount', 'b', { message: 'not ours', lastSeen: at(70) }),
      ],
    },
    code: 'volume_mount_error',
    rule: 'VolumeNotMounted',
    since: at(3),
    says: { detail: 'configmap "cm" not found' },
  },
  'the network of the pod cannot be set up': {
    evidence: { pods: [creating()], events: [aWarning('FailedCreatePodSandBox', 'a')] },
    code: 'container_start_error',
    rule: 'SandboxNotCreated',
    since: at(10),
    says: { resolution: 'node node-1' },
  },
  'a quota refuses the pods': {
    evidence: refused('Error creating: pods "x" is forbidden: exceeded quota: none'),
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(10),
    says: { summary: "Job 'etl'", detail: 'exceeded quota', resolution: 'kubectl describe quota -n team' },
  },
  'a webhook refuses the pods': {
    evidence: refused('admission webhook "policy.example.com" denied the request'),
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(10),
    says: { resolution: 'webhook' },
  },
  'the service account is missing': {
    evidence: refused('error looking up service account team/etl: serviceaccount "etl" not found'),
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(10),
    says: { resolution: 'service_account_name' },
  },
  'Pod Security refuses the pods': {
    evidence: refused('pods "x" is forbidden: violates PodSecurity "restricted:latest"'),
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(10),
    says: { resolution: 'securityContext' },
  },
  'something refuses the pods': {
    evidence: refused('Error creating: no'),
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(10),
    says: { resolution: 'kubectl describe job etl -n team' },
  },
  'pods have been refused since the first Event, and the last one speaks': {
    evidence: {
      job: aJob(),
      events: [
        aWarning('FailedCreate', 'etl', { message: 'exceeded quota: second', lastSeen: at(90) }),
        aWarning('FailedCreate', 'etl', { message: 'exceeded quota: first', lastSeen: at(5) }),
      ],
    },
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(5),
    says: { detail: 'second' },
  },
  'a repeated refusal that lost its first time counts from its last': {
    evidence: { job: aJob(), events: [aWarning('FailedCreate', 'etl', { count: 3, lastSeen: at(90) })] },
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(90),
  },
  'a retry is refused after the first pod failed': {
    evidence: {
      job: aJob(),
      pods: [aPod('a', { status: { phase: 'Failed' }, metadata: { creationTimestamp: at(7) } })],
      events: [aWarning('FailedCreate', 'etl', { count: 3, firstSeen: at(6), lastSeen: at(90) })],
    },
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(7),
  },
  'of several pods the one that waits longest speaks': {
    evidence: {
      pods: [
        waiting('ErrImagePull'),
        aPod('b', {
          status: {
            phase: 'Pending',
            containerStatuses: [aContainer('prefect-job', { waiting: { reason: 'InvalidImageName' } })],
          },
        }),
      ],
    },
    code: 'invalid_image',
    rule: 'ContainerWaiting',
    since: NOON,
  },
  'two pods have waited equally long: the same one speaks each time': {
    evidence: { pods: [{ ...waiting('ErrImagePull'), ...namedB() }, waiting('ErrImagePull')] },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: at(2),
    says: { pod: 'a' },
  },
  'two Events came in the same second': {
    evidence: {
      job: aJob(),
      events: [
        aWarning('FailedCreate', 'etl', { message: 'no: b' }),
        aWarning('FailedCreate', 'etl', { message: 'no: a' }),
      ],
    },
    code: 'pod_creation_failed',
    rule: 'PodsNotCreated',
    since: at(10),
    says: { detail: 'no: b' },
  },
  'an Event without any time tells no time': {
    evidence: {
      pods: [waiting('ErrImagePull')],
      events: [
        {
          type: 'Warning',
          reason: 'Failed',
          message: 'no',
          regarding: aWarning('x', 'a').regarding,
          count: 1,
        },
      ],
    },
    code: 'image_pull_backoff',
    rule: 'ContainerWaiting',
    since: at(2),
  },
  'a sidecar that cannot start keeps the flow from starting': {
    evidence: {
      pods: [
        aPod('a', {
          status: {
            phase: 'Pending',
            containerStatuses: [
              aContainer('prefect-job', { waiting: { reason: 'ContainerCreating' } }),
              aContainer('proxy', { waiting: { reason: 'CreateContainerError' } }),
            ],
          },
        }),
      ],
    },
    code: 'container_start_error',
    rule: 'ContainerWaiting',
    since: NOON,
  },
}

const free: Readonly<Record<string, Partial<DiagnosisEvidence>>> = {
  'nothing is known': {},
  'the pod runs': { pods: [aPod('a')] },
  'the pod is being created': { pods: [creating()] },
  'the Job has no pods yet': { job: aJob() },
  'the Job is suspended': { job: aJob({ spec: { suspend: true } }), pods: [waiting('ErrImagePull')] },
  'the Job has failed': { job: aFailedJob('BackoffLimitExceeded'), pods: [waiting('ErrImagePull')] },
  'the Job has completed': { job: aCompleteJob(), pods: [waiting('ErrImagePull')] },
  'the Job is gone': { job: aJob(), pods: [waiting('ErrImagePull')], gone: { job: true, pods: [] } },
  'the pod is gone': { pods: [waiting('ErrImagePull')], gone: { job: false, pods: ['a-uid'] } },
  'the pod was told to go': {
    pods: [aPod('a', { ...waiting('ErrImagePull'), metadata: { deletionTimestamp: at(60) } })],
  },
  'the pod has failed': {
    pods: [aPod('a', { status: { ...waiting('ErrImagePull').status, phase: 'Failed' } })],
  },
  'the pod has succeeded': {
    pods: [aPod('a', { status: { ...waiting('ErrImagePull').status, phase: 'Succeeded' } })],
  },
  'kubelet only pulls too often': { pods: [waiting('ErrImagePull', 'pull QPS exceeded')] },
  'kubelet only pulls too often, says an Event': {
    pods: [waiting('ImagePullBackOff', 'Back-off pulling image "etl:1"')],
    events: [aWarning('Failed', 'a', { message: 'Failed to pull image "etl:1": pull QPS exceeded' })],
  },
  'the pod waits behind a scheduling gate': { pods: [unscheduled('gated', { reason: 'SchedulingGated' })] },
  'a volume was mounted after all': {
    pods: [creating({ conditions: [aCondition('PodReadyToStartContainers', {})] })],
    events: [aWarning('FailedMount', 'a')],
  },
  'a volume could not be mounted, and the pod runs': {
    pods: [aPod('a')],
    events: [aWarning('FailedMount', 'a')],
  },
  'an Event is no Warning': {
    pods: [creating()],
    events: [aWarning('FailedMount', 'a', { type: 'Normal' })],
  },
  'pods were refused before one was created': {
    job: aJob(),
    pods: [aPod('a', { status: { phase: 'Failed' }, metadata: { creationTimestamp: at(20) } })],
    events: [aWarning('FailedCreate', 'etl'), { ...aWarning('FailedCreate', 'etl'), lastSeen: at(15) }],
  },
  'pods were refused at a time unknown': {
    job: aJob(),
    events: [
      {
        type: 'Warning',
        reason: 'FailedCreate',
        message: 'no',
        regarding: aWarning('x', 'etl').regarding,
        count: 1,
      },
    ],
  },
  'a sidecar crashes while the flow runs': {
    pods: [
      aPod('a', {
        status: {
          containerStatuses: [
            aContainer('prefect-job', { running: {} }),
            aContainer('proxy', { waiting: { reason: 'CrashLoopBackOff' } }),
          ],
        },
      }),
    ],
  },
  'one of two pods runs': {
    pods: [
      waiting('ErrImagePull'),
      aPod('b', { status: { containerStatuses: [aContainer('prefect-job', { running: {} })] } }),
    ],
  },
  'a reason is a word of the language': { pods: [waiting('constructor'), waiting('__proto__')] },
}

/** kubelet's reasons for a container that waits, and the code of each. */
const reasons: Readonly<Record<string, DiagnosisCode>> = {
  ErrImagePull: 'image_pull_backoff',
  ImagePullBackOff: 'image_pull_backoff',
  ErrImageNeverPull: 'image_pull_backoff',
  ImageInspectError: 'image_pull_backoff',
  RegistryUnavailable: 'image_pull_backoff',
  SignatureValidationFailed: 'image_pull_backoff',
  InvalidImageName: 'invalid_image',
  CreateContainerConfigError: 'container_config_error',
  CreateContainerError: 'container_start_error',
  RunContainerError: 'container_start_error',
  PreCreateHookError: 'container_start_error',
  PreStartHookError: 'container_start_error',
  PostStartHookError: 'container_start_error',
  CrashLoopBackOff: 'crash_loop_backoff',
}

t.test('a container waits', t => {
  for (const [reason, code] of Object.entries(reasons)) {
    t.equal(stuckStart({ pods: [waiting(reason)], events: [] })?.diagnosis.code, code, reason)
  }
  t.end()
})

t.test('a volume is missing', t => {
  for (const reason of ['FailedMount', 'FailedAttachVolume', 'FailedMapVolume']) {
    const found = stuckStart({ pods: [creating()], events: [aWarning(reason, 'a')] })
    t.equal(found?.diagnosis.code, 'volume_mount_error', reason)
  }
  t.end()
})

t.test('stuck', t => {
  for (const [sentence, { evidence, code, rule, since, says = {} }] of Object.entries(stuck)) {
    const found = stuckStart({ pods: [], events: [], ...evidence })
    t.strictSame(
      { code: found?.diagnosis.code, rule: found?.rule, since: found?.since },
      { code, rule, since },
      sentence,
    )
    if (found) checkWords(t, sentence, { diagnosis: found.diagnosis, says })
    t.ok(isStuckStartCode(code), `${sentence}: a grace can be set for it`)
  }
  t.end()
})

t.test('not stuck', t => {
  for (const [sentence, evidence] of Object.entries(free)) {
    t.equal(stuckStart({ pods: [], events: [], ...evidence }), undefined, sentence)
  }
  t.end()
})
