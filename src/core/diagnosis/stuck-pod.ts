import { trueCondition } from '../life.ts'
import type { Pod } from '../objects.ts'
import type { DiagnosisCode } from './codes.ts'
import type { DiagnosisEvidence, HoldUp } from './diagnosis.ts'
import { createDiagnosis } from './diagnosis.ts'
import { podSubject } from './evidence.ts'
import { sinceOf, warningsAbout } from './since.ts'
import { unschedulableFrom } from './unschedulable.ts'
import { containerWaiting } from './waiting.ts'

type StuckRule = (pod: Pod, evidence: DiagnosisEvidence) => HoldUp | undefined

/** What keeps a pod from starting, in the order in which a pod starts. */
const STUCK_RULES: readonly StuckRule[] = [
  unschedulable,
  volumeNotMounted,
  sandboxNotCreated,
  containerWaiting,
]

/** Why a pod cannot start and since when; `undefined` where nothing says that it cannot. */
export function stuckPod(pod: Pod, evidence: DiagnosisEvidence): HoldUp | undefined {
  for (const rule of STUCK_RULES) {
    const stuck = rule(pod, evidence)
    if (stuck) return stuck
  }
  return undefined
}

/** `SchedulingGated` is not meant: such a pod waits on purpose. */
function unschedulable(pod: Pod): HoldUp | undefined {
  const condition = pod.status.conditions.find(
    ({ type, status }) => type === 'PodScheduled' && status === 'False',
  )
  if (condition?.reason !== 'Unschedulable') return undefined
  const diagnosis = createDiagnosis('unschedulable', podSubject(pod), {
    summary: `No node can take pod '${pod.metadata.name}'.`,
    detail: condition.message,
    ...unschedulableFrom(condition.message ?? ''),
  })
  return {
    rule: 'PodUnschedulable',
    diagnosis,
    since: condition.lastTransitionTime ?? pod.metadata.creationTimestamp,
  }
}

const MOUNT_EVENTS: ReadonlySet<string> = new Set(['FailedMount', 'FailedAttachVolume', 'FailedMapVolume'])

/** Only Events tell: the container just says ContainerCreating. */
function volumeNotMounted(pod: Pod, evidence: DiagnosisEvidence): HoldUp | undefined {
  return stuckBefore(pod, evidence, {
    rule: 'VolumeNotMounted',
    code: 'volume_mount_error',
    reasons: MOUNT_EVENTS,
    summary: `A volume of pod '${pod.metadata.name}' cannot be mounted.`,
  })
}

function sandboxNotCreated(pod: Pod, evidence: DiagnosisEvidence): HoldUp | undefined {
  return stuckBefore(pod, evidence, {
    rule: 'SandboxNotCreated',
    code: 'container_start_error',
    reasons: new Set(['FailedCreatePodSandBox']),
    summary: `The sandbox of pod '${pod.metadata.name}' cannot be created: network or container runtime fail.`,
    resolution: 'Look at the node and its network plugin: `kubectl describe node <node>`.',
  })
}

interface EarlyFailure {
  readonly rule: string
  readonly code: DiagnosisCode
  readonly reasons: ReadonlySet<string>
  readonly summary: string
  readonly resolution?: string
}

/**
 * Failures before the containers' turn. PodReadyToStartContainers (Kubernetes 1.29 and later) tells that volumes
 * and sandbox came right after all; the Events about a failure outlive it by an hour.
 */
function stuckBefore(pod: Pod, evidence: DiagnosisEvidence, failure: EarlyFailure): HoldUp | undefined {
  const { rule, code, reasons, ...words } = failure
  if (pod.status.phase !== 'Pending' || trueCondition(pod.status.conditions, 'PodReadyToStartContainers'))
    return undefined
  const events = warningsAbout(pod, evidence, reasons)
  const last = events.at(-1)
  if (!last) return undefined
  return {
    rule,
    diagnosis: createDiagnosis(code, podSubject(pod), { ...words, detail: last.message }),
    since: sinceOf(pod, events),
  }
}
