/**
 * Kubernetes objects as the rules see them: the fields they read and nothing else, in Kubernetes' own names.
 * The `kubernetes` room makes them from what the API answers; absent stays `undefined`.
 */

/** Milliseconds since 1970, UTC. Core knows no clock: instants arrive as values. */
export type Instant = number

export interface OwnerReference {
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller: boolean
}

export interface ObjectMeta {
  readonly name: string
  readonly namespace: string
  readonly uid: string
  readonly resourceVersion: string
  readonly creationTimestamp: Instant
  readonly deletionTimestamp?: Instant
  readonly deletionGracePeriodSeconds?: number
  readonly labels: Readonly<Record<string, string>>
  /** Only annotations under `prefect.io/` and `prefect-lifeguard.dev/` are kept. */
  readonly annotations: Readonly<Record<string, string>>
  readonly ownerReferences: readonly OwnerReference[]
}

export interface Condition {
  readonly type: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason?: string
  readonly message?: string
  readonly lastTransitionTime?: Instant
}

export interface Job {
  readonly metadata: ObjectMeta
  readonly spec: {
    readonly backoffLimit?: number
    readonly backoffLimitPerIndex?: number
    readonly completions?: number
    readonly parallelism?: number
    readonly completionMode?: string
    readonly suspend: boolean
    readonly activeDeadlineSeconds?: number
    /** Set when another controller than Kubernetes' own runs the Job. */
    readonly managedBy?: string
  }
  readonly status: {
    readonly active: number
    readonly succeeded: number
    readonly failed: number
    readonly terminating: number
    readonly startTime?: Instant
    readonly completionTime?: Instant
    readonly conditions: readonly Condition[]
  }
}

export interface ContainerTermination {
  readonly exitCode: number
  readonly signal?: number
  readonly reason?: string
  readonly message?: string
  readonly startedAt?: Instant
  readonly finishedAt?: Instant
}

export interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string }
  readonly running?: { readonly startedAt?: Instant }
  readonly terminated?: ContainerTermination
}

export interface ContainerStatus {
  readonly name: string
  readonly restartCount: number
  readonly state: ContainerState
  readonly lastState: ContainerState
}

export interface Container {
  readonly name: string
  readonly image?: string
  /** `resources.limits.memory` as written, such as `512Mi`. */
  readonly memoryLimit?: string
  /** `Always` on an init container makes it a sidecar. */
  readonly restartPolicy?: string
}

export interface Pod {
  readonly metadata: ObjectMeta
  readonly spec: {
    readonly nodeName?: string
    readonly restartPolicy?: string
    readonly terminationGracePeriodSeconds?: number
    readonly initContainers: readonly Container[]
    readonly containers: readonly Container[]
  }
  readonly status: {
    readonly phase: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown'
    readonly reason?: string
    readonly message?: string
    readonly startTime?: Instant
    readonly conditions: readonly Condition[]
    readonly initContainerStatuses: readonly ContainerStatus[]
    readonly containerStatuses: readonly ContainerStatus[]
  }
}

/** A Kubernetes Event about a Job or pod of a run (core/v1 or events.k8s.io/v1). */
export interface KubernetesEvent {
  readonly type: string
  readonly reason: string
  readonly message: string
  readonly regarding: { readonly kind: string; readonly name: string; readonly uid: string }
  readonly count: number
  readonly firstSeen?: Instant
  readonly lastSeen?: Instant
}

export interface Node {
  readonly name: string
  readonly ready: 'True' | 'False' | 'Unknown'
  readonly readySince?: Instant
}
