import type { JobFact, PodFact } from '../../../src/core/facts.ts'
import { SUSPENDED_BY_US_ANNOTATION } from '../../../src/core/names.ts'
import type {
  Condition,
  ContainerState,
  Job,
  KubernetesEvent,
  Node,
  ObjectMeta,
  Pod,
} from '../../../src/core/objects.ts'
import { at } from '../../fixtures/kubernetes.ts'

/** The namespace of everything that is built here. */
export const NAMESPACE = 'team'

export { at }

/** When something went away, in seconds after noon; `unseen` where a gap in the watch may hide how it ended. */
export type Going = number | { readonly unseen: number }

/** What a sentence says about a Job; the rest is an active Job `etl`, made at noon, that does not retry. */
export interface JobParts {
  /** Its UID too, unless that is given. */
  readonly name?: string
  readonly uid?: string
  /** Seconds after noon. */
  readonly created?: number
  /** The reason of a condition that is True. */
  readonly failed?: string
  readonly failureTarget?: string
  readonly complete?: boolean
  readonly suspended?: boolean
  /** Suspended by us. */
  readonly stopped?: boolean
  /** When it failed, completed or was suspended, in seconds after noon; `null` where the condition does not say. */
  readonly ended?: number | null
  /** Somebody deleted it and it is still there, in seconds after noon: its pods, or a finalizer, hold it up. */
  readonly deleting?: number
  readonly gone?: Going
  readonly spec?: Partial<Job['spec']>
  readonly status?: Partial<Job['status']>
  readonly labels?: ObjectMeta['labels']
}

/** A Job of the run. */
export function job(parts: JobParts = {}): JobFact {
  const { name, created, suspended, stopped, labels } = { ...ACTIVE, ...parts }
  return {
    job: {
      metadata: {
        ...metadataOf(name, { uid: parts.uid ?? name, created }),
        ...(parts.deleting !== undefined && { deletionTimestamp: at(parts.deleting) }),
        labels,
        annotations: stopped ? { [SUSPENDED_BY_US_ANNOTATION]: 'true' } : {},
      },
      spec: { backoffLimit: 0, suspend: suspended || stopped, ...parts.spec },
      status: {
        active: 0,
        succeeded: 0,
        failed: 0,
        terminating: 0,
        conditions: conditionsOf(parts),
        ...parts.status,
      },
    },
    ...goingOf(parts.gone),
  }
}

const ACTIVE = { name: 'etl', created: 0, suspended: false, stopped: false, labels: {} }

/** What a sentence says about a pod; the rest is a pod `etl-a` of the Job `etl` whose flow runs on `node-1`. */
export interface PodParts {
  /** Its UID, too. */
  readonly name?: string
  /** The UID and name of its Job; `null` for a pod without an owner. */
  readonly of?: string | null
  readonly created?: number
  readonly phase?: Pod['status']['phase']
  readonly reason?: string
  /** The node, `node-1` unless told otherwise; `null` where it has none. */
  readonly on?: string | null
  /** How the flow's container ended, twenty seconds after noon. */
  readonly exitCode?: number
  readonly oom?: boolean
  /** Why the flow's container waits. */
  readonly waiting?: string
  /** How the container ended the last time. */
  readonly lastExitCode?: number
  /** How its init container ended; the flow's container waits for it. */
  readonly initExitCode?: number
  /** Nothing is known of its containers yet. */
  readonly unstarted?: boolean
  /** `deletionTimestamp`, in seconds after noon: when it is due to be gone, 30 s after its deletion. */
  readonly due?: number
  readonly gone?: Going
  readonly conditions?: readonly Condition[]
}

/** A pod of the run. */
export function pod(parts: PodParts = {}): PodFact {
  const { name, of, created, on } = { ...RUNNING, ...parts }
  return {
    pod: {
      metadata: {
        ...metadataOf(name, { uid: name, created }),
        ...dueOf(parts),
        ownerReferences: of === null ? [] : [{ kind: 'Job', name: of, uid: of, controller: true }],
      },
      spec: {
        ...(on !== null && { nodeName: on }),
        restartPolicy: 'Never',
        initContainers: parts.initExitCode === undefined ? [] : [{ name: 'fetch', image: 'fetch:1' }],
        containers: [{ name: 'prefect-job', image: 'etl:1', memoryLimit: '512Mi' }],
      },
      status: podStatusOf(parts),
    },
    ...goingOf(parts.gone),
  }
}

const RUNNING = { name: 'etl-a', of: 'etl', created: 1, on: 'node-1' }

/** A node, Ready unless it stopped being so at `lost`, in seconds after noon. */
export const node = (name: string, lost?: number): Node => ({
  name,
  ready: lost === undefined ? 'True' : 'Unknown',
  readySince: at(lost ?? 0),
})

/** A Warning about the Job `etl`, or about one of its pods. */
export const warning = (
  reason: string,
  about: { kind: 'Job' | 'Pod'; name: string; seen: number },
): KubernetesEvent => ({
  type: 'Warning',
  reason,
  message: `${reason}: pods are forbidden: exceeded quota`,
  regarding: { kind: about.kind, name: about.name, uid: about.name },
  count: 1,
  firstSeen: at(about.seen),
  lastSeen: at(about.seen),
})

const metadataOf = (name: string, { uid, created }: { uid: string; created: number }): ObjectMeta => ({
  name,
  namespace: NAMESPACE,
  uid,
  resourceVersion: '7',
  creationTimestamp: at(created),
  labels: {},
  annotations: {},
  ownerReferences: [],
})

const dueOf = ({ due }: PodParts): Partial<ObjectMeta> =>
  due === undefined ? {} : { deletionTimestamp: at(due), deletionGracePeriodSeconds: 30 }

function conditionsOf(parts: JobParts): readonly Condition[] {
  const { failed, failureTarget = failed, ended = 30 } = parts
  const types: readonly (readonly [type: string, is: unknown, reason?: string | undefined])[] = [
    ['FailureTarget', failureTarget, failureTarget],
    ['Failed', failed, failed],
    ['SuccessCriteriaMet', parts.complete],
    ['Complete', parts.complete],
    ['Suspended', parts.suspended || parts.stopped, 'JobSuspended'],
  ]
  const since = ended === null ? {} : { lastTransitionTime: at(ended) }
  return types.flatMap(([type, is, reason]) =>
    is ? conditionOf(type, reason === undefined ? since : { ...since, reason }) : [],
  )
}

const conditionOf = (type: string, parts: Partial<Condition>): Condition => ({
  type,
  status: 'True',
  ...parts,
})

function podStatusOf(parts: PodParts): Pod['status'] {
  const { reason, initExitCode } = parts
  return {
    phase: phaseOf(parts),
    ...(reason !== undefined && { reason }),
    conditions: parts.conditions ?? [],
    initContainerStatuses: initExitCode === undefined ? [] : [initContainerOf(initExitCode)],
    containerStatuses: parts.unstarted ? [] : [containerOf(parts)],
  }
}

function phaseOf({
  phase,
  exitCode,
  initExitCode,
  oom,
  waiting,
  unstarted,
}: PodParts): Pod['status']['phase'] {
  if (phase !== undefined) return phase
  if (exitCode === 0) return 'Succeeded'
  if (exitCode !== undefined || initExitCode !== undefined || oom) return 'Failed'
  return waiting !== undefined || unstarted ? 'Pending' : 'Running'
}

const containerOf = (parts: PodParts): Pod['status']['containerStatuses'][number] => ({
  name: 'prefect-job',
  restartCount: parts.lastExitCode === undefined ? 0 : 3,
  state: stateOf(parts),
  lastState: parts.lastExitCode === undefined ? {} : endedWith(parts.lastExitCode),
})

const initContainerOf = (exitCode: number): Pod['status']['initContainerStatuses'][number] => ({
  name: 'fetch',
  restartCount: 0,
  state: endedWith(exitCode),
  lastState: {},
})

function stateOf({ exitCode, initExitCode, oom, waiting }: PodParts): ContainerState {
  if (initExitCode !== undefined) return { waiting: { reason: 'PodInitializing' } }
  if (oom) return endedWith(137, 'OOMKilled')
  if (exitCode !== undefined) return endedWith(exitCode)
  return waiting === undefined ? { running: { startedAt: at(2) } } : { waiting: { reason: waiting } }
}

const endedWith = (exitCode: number, reason = exitCode === 0 ? 'Completed' : 'Error'): ContainerState => ({
  terminated: { exitCode, reason, finishedAt: at(20) },
})

function goingOf(gone: Going | undefined): Pick<JobFact, 'gone'> {
  if (gone === undefined) return {}
  if (typeof gone === 'number') return { gone: { at: at(gone), finalStateUnknown: false } }
  return { gone: { at: at(gone.unseen), finalStateUnknown: true } }
}
