import type {
  Container,
  ContainerState,
  ContainerStatus,
  ContainerTermination,
  Pod,
} from '../../core/objects.ts'
import {
  count,
  isRecord,
  list,
  number,
  optionalInstant,
  optionalNumber,
  optionalString,
  present,
  record,
  recordOrEmpty,
  string,
  type Fields,
} from './fields.ts'
import { conditionsOf, named, parseMetadata } from './metadata.ts'

/** A `v1` Pod without environment, volumes and all else that says nothing about how it ends. */
export const parsePod: (json: unknown) => Pod = named('Pod', fields => ({
  metadata: parseMetadata(fields['metadata']),
  spec: specOf(recordOrEmpty(fields['spec'], 'spec')),
  status: statusOf(recordOrEmpty(fields['status'], 'status')),
}))

const specOf = (spec: Fields): Pod['spec'] => ({
  ...present('nodeName', optionalString(spec['nodeName'])),
  ...present('restartPolicy', optionalString(spec['restartPolicy'])),
  ...present('terminationGracePeriodSeconds', optionalNumber(spec['terminationGracePeriodSeconds'])),
  initContainers: list(spec['initContainers'], 'spec.initContainers').map(containerOf),
  containers: list(spec['containers'], 'spec.containers').map(containerOf),
})

const statusOf = (status: Fields): Pod['status'] => ({
  phase: phaseOf(status['phase']),
  ...present('reason', optionalString(status['reason'])),
  ...present('message', optionalString(status['message'])),
  ...present('startTime', optionalInstant(status['startTime'], 'status.startTime')),
  conditions: conditionsOf(status['conditions']),
  initContainerStatuses: list(status['initContainerStatuses'], 'status.initContainerStatuses').map(
    containerStatusOf,
  ),
  containerStatuses: list(status['containerStatuses'], 'status.containerStatuses').map(containerStatusOf),
})

/** A pod without a phase has not been looked at by anybody: Kubernetes' default is Pending. */
function phaseOf(value: unknown): Pod['status']['phase'] {
  if (value === undefined || value === '') return 'Pending'
  if (value === 'Pending' || value === 'Running' || value === 'Succeeded') return value
  if (value === 'Failed' || value === 'Unknown') return value
  throw new TypeError(`status.phase: expected a pod's phase, found ${JSON.stringify(value)}`)
}

function containerOf(value: unknown): Container {
  const fields = record(value, 'spec.containers[]')
  return {
    name: string(fields['name'], 'spec.containers[].name'),
    ...present('image', optionalString(fields['image'])),
    ...present('memoryLimit', memoryLimitOf(fields['resources'])),
    ...present('restartPolicy', optionalString(fields['restartPolicy'])),
  }
}

function memoryLimitOf(resources: unknown): string | undefined {
  const limits = isRecord(resources) ? resources['limits'] : undefined
  return isRecord(limits) ? optionalString(limits['memory']) : undefined
}

function containerStatusOf(value: unknown): ContainerStatus {
  const fields = record(value, 'status.containerStatuses[]')
  return {
    name: string(fields['name'], 'status.containerStatuses[].name'),
    restartCount: count(fields['restartCount'], 'status.containerStatuses[].restartCount'),
    state: containerStateOf(fields['state']),
    lastState: containerStateOf(fields['lastState']),
  }
}

const NO_STATE: ContainerState = Object.freeze({})

function containerStateOf(value: unknown): ContainerState {
  const { waiting, running, terminated } = recordOrEmpty(value, 'status.containerStatuses[].state')
  if (isRecord(terminated)) return { terminated: terminationOf(terminated) }
  if (isRecord(waiting)) return { waiting: { ...reasonOf(waiting) } }
  if (!isRecord(running)) return NO_STATE
  return { running: present('startedAt', optionalInstant(running['startedAt'], 'state.running.startedAt')) }
}

const terminationOf = (fields: Fields): ContainerTermination => ({
  exitCode: number(fields['exitCode'], 'state.terminated.exitCode'),
  ...present('signal', optionalNumber(fields['signal'])),
  ...reasonOf(fields),
  ...present('startedAt', optionalInstant(fields['startedAt'], 'state.terminated.startedAt')),
  ...present('finishedAt', optionalInstant(fields['finishedAt'], 'state.terminated.finishedAt')),
})

const reasonOf = (fields: Fields): { readonly reason?: string; readonly message?: string } => ({
  ...present('reason', optionalString(fields['reason'])),
  ...present('message', optionalString(fields['message'])),
})
