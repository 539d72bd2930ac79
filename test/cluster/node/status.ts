import type { Container, Pod } from '../resources.ts'

// What a kubelet writes into a pod's status, as a function of what its containers did. The rules are those of
// kubernetes/pkg/kubelet: getPhase and generateAPIPodStatus (kubelet_pods.go), status/generate.go,
// TerminatePod and mergePodStatus (status/status_manager.go).

export interface Waiting {
  readonly kind: 'waiting'
  readonly reason: string
  readonly message?: string
}

export interface Running {
  readonly kind: 'running'
  readonly startedAt: string
}

export interface Terminated {
  readonly kind: 'terminated'
  readonly exitCode: number
  readonly reason: string
  readonly message?: string
  readonly startedAt: string | null
  readonly finishedAt: string | null
  readonly containerID?: string
}

export type ContainerState = Waiting | Running | Terminated

/** What is known of one container. */
export interface ContainerRecord {
  readonly state: ContainerState
  /** How the run before this one ended. */
  readonly last?: Terminated
  readonly restartCount: number
  /** Absent until a process was started. */
  readonly containerID?: string
}

export interface PodRecord {
  readonly startTime: string
  /** Whether containers can be started (`ready`), not yet, or no more. */
  readonly sandbox: 'missing' | 'ready' | 'gone'
  /** By name; init containers too. */
  readonly containers: ReadonlyMap<string, ContainerRecord>
  /** Every process is gone, and none will be started again. */
  readonly terminal: boolean
  /** Why the pod failed as a whole, whatever its containers did: evicted, or active for too long. */
  readonly failure?: { readonly reason: string; readonly message: string }
  /** Set when the kubelet itself disrupts a pod: its condition DisruptionTarget. */
  readonly disruption?: string
}

export interface StatusInput {
  readonly pod: Pod
  readonly record: PodRecord
  /** The status written before this one. */
  readonly previous: PodStatus | undefined
  readonly now: string
  readonly hostIP: string
}

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed'

interface Condition {
  readonly type: string
  readonly status: 'True' | 'False'
  readonly observedGeneration: number | undefined
  readonly lastProbeTime: null
  readonly lastTransitionTime: string
  /** Null takes an earlier one away when the API merges. */
  readonly reason: string | null
  readonly message: string | null
}

export interface PodStatus {
  readonly observedGeneration: number | undefined
  readonly phase: Phase
  readonly reason: string | null
  readonly message: string | null
  readonly conditions: readonly Condition[]
  readonly hostIP: string
  readonly hostIPs: readonly { readonly ip: string }[]
  readonly podIP?: string
  readonly podIPs?: readonly { readonly ip: string }[]
  readonly startTime: string
  readonly initContainerStatuses?: readonly object[]
  readonly containerStatuses: readonly object[]
}

const NEVER_STARTED: Terminated = {
  kind: 'terminated',
  exitCode: 137,
  reason: 'ContainerStatusUnknown',
  message: 'The container could not be located when the pod was terminated',
  startedAt: null,
  finishedAt: null,
}

/**
 * A pod's status, to be merged strategically into the one the API has: conditions of others, such as the eviction
 * API's DisruptionTarget, stay.
 */
export function podStatus(input: StatusInput): PodStatus {
  const { pod, hostIP } = input
  const record = input.record.terminal ? withEveryContainerTerminated(pod, input.record) : input.record
  const phase = phaseOf(pod, record)
  const ips = [{ ip: hostIP }]
  const inits = pod.spec.initContainers.map(container => initStatus(container, record))
  return {
    observedGeneration: pod.metadata.generation,
    ...outcomeOf(input, { record, phase }),
    conditions: conditionsOf({ ...input, record }, phase),
    hostIP,
    hostIPs: ips,
    ...(record.sandbox === 'missing' ? {} : { podIP: hostIP, podIPs: ips }),
    startTime: record.startTime,
    ...(inits.length === 0 ? {} : { initContainerStatuses: inits }),
    containerStatuses: pod.spec.containers.map(container => mainStatus(container, record)),
  }
}

/** The conditions tell of a pod's end at once; its phase only when no process can be running any more. */
function outcomeOf(
  { previous }: StatusInput,
  { record, phase }: Facts,
): Pick<PodStatus, 'phase' | 'reason' | 'message'> {
  if (isFinal(phase) && !record.terminal)
    return { phase: previous?.phase ?? 'Pending', reason: null, message: null }
  const { reason = null, message = null } = record.failure ?? {}
  return { phase, reason, message }
}

const isFinal = (phase: Phase): boolean => phase === 'Succeeded' || phase === 'Failed'

/** Kubernetes' own names for what a pod's containers amount to. */
function phaseOf(pod: Pod, record: PodRecord): Phase {
  if (record.failure) return 'Failed'
  const inits = pod.spec.initContainers
  if (inits.some(container => initHasFailed(pod, { container, record }))) return 'Failed'
  const started = pod.spec.containers.some(container => hasStarted(recordOf(record, container.name)))
  if (!started && inits.some(container => !isInitialized(container, record)))
    return record.terminal ? 'Failed' : 'Pending'
  return phaseOfMain(pod, record)
}

function phaseOfMain(pod: Pod, record: PodRecord): Phase {
  const containers = pod.spec.containers.map(({ name }) => recordOf(record, name))
  if (!containers.every(hasStarted)) return record.terminal ? 'Failed' : 'Pending'
  if (containers.some(({ state }) => state.kind === 'running')) return 'Running'
  const outcome = containers.every(hasSucceeded) ? 'Succeeded' : 'Failed'
  return record.terminal || !restartsAfter(outcome, pod) ? outcome : 'Running'
}

const restartsAfter = (outcome: 'Succeeded' | 'Failed', { spec }: Pod): boolean =>
  spec.restartPolicy === 'Always' || (spec.restartPolicy === 'OnFailure' && outcome === 'Failed')

const hasSucceeded = ({ state }: ContainerRecord): boolean =>
  state.kind === 'terminated' && state.exitCode === 0

/** One that waits for its next run has started, too. */
const hasStarted = ({ state, last }: ContainerRecord): boolean =>
  state.kind !== 'waiting' || last !== undefined

export const isSidecar = (container: Container): boolean => container.restartPolicy === 'Always'

/** An init container is done when it ended well, a sidecar when it runs. */
function isInitialized(container: Container, record: PodRecord): boolean {
  const found = recordOf(record, container.name)
  return hasSucceeded(found) || (isSidecar(container) && hasStarted(found))
}

const initHasFailed = (
  pod: Pod,
  { container, record }: { readonly container: Container; readonly record: PodRecord },
): boolean => {
  const { state } = recordOf(record, container.name)
  if (pod.spec.restartPolicy !== 'Never' || isSidecar(container)) return false
  return state.kind === 'terminated' && state.exitCode !== 0
}

/** When a pod is over, a container that should have run and left no trace counts as failed. */
function withEveryContainerTerminated(pod: Pod, record: PodRecord): PodRecord {
  if (pod.spec.initContainers.some(container => !isInitialized(container, record))) return record
  const containers = new Map(record.containers)
  for (const { name } of pod.spec.containers) {
    const found = recordOf(record, name)
    if (found.state.kind === 'terminated') continue
    containers.set(name, { ...found, state: found.last ?? NEVER_STARTED })
  }
  return { ...record, containers }
}

const WAITING: ContainerRecord = { state: { kind: 'waiting', reason: 'ContainerCreating' }, restartCount: 0 }

const recordOf = (record: PodRecord, name: string): ContainerRecord => record.containers.get(name) ?? WAITING

interface Verdict {
  readonly status: 'True' | 'False'
  readonly reason?: string
  readonly message?: string
}

function conditionsOf({ pod, record, previous, now }: StatusInput, phase: Phase): Condition[] {
  const ready = readiness(pod, { record, phase })
  const verdicts: Record<string, Verdict> = {
    PodReadyToStartContainers: { status: record.sandbox === 'ready' ? 'True' : 'False' },
    Initialized: initialization(pod, { record, phase }),
    Ready: ready,
    ContainersReady: ready,
    PodScheduled: { status: 'True' },
  }
  if (record.disruption !== undefined) {
    verdicts['DisruptionTarget'] = {
      status: 'True',
      reason: 'TerminationByKubelet',
      message: record.disruption,
    }
  }
  const before = [...(previous?.conditions ?? []), ...pod.status.conditions]
  return Object.entries(verdicts).map(([type, { status, reason = null, message = null }]) => {
    const same = before.find(condition => condition.type === type)
    const unchanged = same?.status === status && typeof same.lastTransitionTime === 'string'
    return {
      type,
      status,
      observedGeneration: pod.metadata.generation,
      lastProbeTime: null,
      lastTransitionTime: unchanged ? (same.lastTransitionTime ?? now) : now,
      reason,
      message,
    }
  })
}

interface Facts {
  readonly record: PodRecord
  readonly phase: Phase
}

function readiness(pod: Pod, { record, phase }: Facts): Verdict {
  if (phase === 'Succeeded') return { status: 'False', reason: 'PodCompleted' }
  if (phase === 'Failed') return { status: 'False', reason: 'PodFailed' }
  const unready = pod.spec.containers.filter(({ name }) => recordOf(record, name).state.kind !== 'running')
  if (unready.length === 0) return { status: 'True' }
  return {
    status: 'False',
    reason: 'ContainersNotReady',
    message: `containers with unready status: ${names(unready)}`,
  }
}

function initialization(pod: Pod, { record, phase }: Facts): Verdict {
  if (phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' }
  const incomplete = pod.spec.initContainers.filter(container => !isInitialized(container, record))
  if (incomplete.length === 0) return { status: 'True' }
  if (pod.spec.containers.some(({ name }) => hasStarted(recordOf(record, name)))) return { status: 'True' }
  return {
    status: 'False',
    reason: 'ContainersNotInitialized',
    message: `containers with incomplete status: ${names(incomplete)}`,
  }
}

/** As Go prints a list of strings. */
const names = (containers: readonly Container[]): string =>
  `[${containers.map(({ name }) => name).join(' ')}]`

const mainStatus = (container: Container, record: PodRecord): object => {
  const { state } = recordOf(record, container.name)
  return containerStatus(container, record, state.kind === 'running')
}

const initStatus = (container: Container, record: PodRecord): object => {
  const found = recordOf(record, container.name)
  const ready = isSidecar(container) ? found.state.kind === 'running' : hasSucceeded(found)
  return containerStatus(container, record, ready)
}

function containerStatus(container: Container, record: PodRecord, ready: boolean): object {
  const { state, last, restartCount, containerID } = recordOf(record, container.name)
  return {
    name: container.name,
    state: apiState(state),
    lastState: last ? apiState(last) : {},
    ready,
    restartCount,
    image: container.image ?? '',
    imageID: '',
    started: state.kind === 'running',
    ...(containerID === undefined ? {} : created(container, containerID)),
    ...mounts(container),
  }
}

/** No image is ever pulled; its name stands for it. */
const created = ({ image = '', resources }: Container, containerID: string): object => ({
  imageID: image,
  containerID,
  ...(resources?.requests ? { allocatedResources: resources.requests } : {}),
  ...(resources ? { resources } : {}),
})

function mounts({ volumeMounts = [] }: Container): object {
  if (volumeMounts.length === 0) return {}
  const statuses = volumeMounts.map(({ name, mountPath, readOnly }) =>
    readOnly ? { name, mountPath, readOnly, recursiveReadOnly: 'Disabled' } : { name, mountPath },
  )
  return { volumeMounts: statuses }
}

function apiState({ kind, ...rest }: ContainerState): object {
  return { [kind]: rest }
}
