import type { Container, ContainerStatus, ContainerTermination, Pod } from '../objects.ts'

/** What Prefect's default base job template calls the container that runs the flow. */
const PREFECT_CONTAINER = 'prefect-job'

/** Terminations that record no more than that nobody saw the end: kubelet's and containerd's, after a restart. */
const UNSEEN_REASONS: ReadonlySet<string | undefined> = new Set(['ContainerStatusUnknown', 'Unknown'])

/** The container that runs the flow: Prefect's by name, since injectors of sidecars may put theirs first. */
export function mainOf({ spec, status }: Pod): ContainerStatus | undefined {
  const container = spec.containers.find(isPrefect) ?? spec.containers[0]
  return status.containerStatuses.find(({ name }) => name === container?.name)
}

/** Init containers that have to end before the flow starts. */
export const initsOf = ({ spec, status }: Pod): readonly ContainerStatus[] =>
  status.initContainerStatuses.filter(({ name }) => !isSidecar(spec.initContainers, name))

/** Containers beside the flow: those of `containers`, and init containers with restartPolicy Always. */
export function sidecarsOf(pod: Pod): readonly ContainerStatus[] {
  const { spec, status } = pod
  const main = mainOf(pod)
  return [
    ...status.initContainerStatuses.filter(({ name }) => isSidecar(spec.initContainers, name)),
    ...status.containerStatuses.filter(container => container !== main),
  ]
}

/** All containers in the order in which they start. */
export const allOf = ({ status }: Pod): readonly ContainerStatus[] => [
  ...status.initContainerStatuses,
  ...status.containerStatuses,
]

/** The memory limit of a container, as written in the pod. */
export const memoryLimitOf = ({ spec }: Pod, name: string): string | undefined =>
  [...spec.initContainers, ...spec.containers].find(container => container.name === name)?.memoryLimit

/**
 * How a container last ended; `undefined` where it runs or never ran. While it waits for a restart, and where
 * nobody saw its end, the termination before counts.
 */
export function endOf({ state, lastState }: ContainerStatus): ContainerTermination | undefined {
  if (state.running) return undefined
  if (state.terminated && !isUnseen(state.terminated)) return state.terminated
  return lastState.terminated ?? state.terminated
}

/** A container that has ended, and how. */
export interface Ended {
  readonly name: string
  readonly restartCount: number
  readonly end: ContainerTermination
}

/** Those of the containers that have ended. */
export const endedOf = (statuses: readonly ContainerStatus[]): readonly Ended[] =>
  statuses.flatMap(status => {
    const end = endOf(status)
    return end ? { name: status.name, restartCount: status.restartCount, end } : []
  })

/** The container that runs the flow, if it has ended. */
export function mainEndOf(pod: Pod): Ended | undefined {
  const main = mainOf(pod)
  return main && endedOf([main])[0]
}

/** Whether nobody saw how the container ended: its exit code is made up. */
export const isUnseen = ({ reason }: ContainerTermination): boolean => UNSEEN_REASONS.has(reason)

/**
 * Whether the runtime says that memory ran out. The exit code may be any: with a child process killed, PID 1 can
 * end with 1 or even 0 (flyteorg/flyte#4704).
 */
export const isOutOfMemory = (end: ContainerTermination | undefined): boolean => end?.reason === 'OOMKilled'

const isPrefect = ({ name }: Container): boolean => name === PREFECT_CONTAINER

const isSidecar = (initContainers: readonly Container[], name: string): boolean =>
  initContainers.some(container => container.name === name && container.restartPolicy === 'Always')
