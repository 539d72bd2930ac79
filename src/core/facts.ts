import type { Evidence } from './evidence.ts'
import type { FlowRun, State } from './flow-run.ts'
import type { Instant, Job, KubernetesEvent, Node, Pod } from './objects.ts'

/** When we learned that an object no longer exists, and whether its last state may have escaped us. */
export interface Gone {
  readonly at: Instant
  readonly finalStateUnknown: boolean
}

/** A Job of the run: as it is, or as it was when it was last seen. */
export interface JobFact {
  readonly job: Job
  readonly gone?: Gone
}

/** A pod of the run: as it is, or as it was when it was last seen. */
export interface PodFact {
  readonly pod: Pod
  readonly gone?: Gone
}

/**
 * Everything a verdict rests on. What is absent was not asked for yet: a rule that lacks it says so, and whoever
 * gathers reads just that (`Need`). JSON keeps it whole, so a recorded case can be decided again.
 */
export interface Facts {
  readonly flowRunId: string
  readonly now: Instant
  readonly jobs: Evidence<readonly JobFact[]>
  readonly pods: Evidence<readonly PodFact[]>
  /** Whether Jobs and pods were listed after the flow run was read; a watch cache may lag behind. */
  readonly isLive: boolean
  /** The nodes of the run's pods; one that is not listed does not exist. */
  readonly nodes?: Evidence<readonly Node[]>
  /** Events about the run's Jobs and pods. */
  readonly events?: Evidence<readonly KubernetesEvent[]>
  /** A fresh read; `undefined` where Prefect does not know the run. */
  readonly flowRun?: Evidence<FlowRun | undefined>
  /** The run's state history, oldest first. */
  readonly states?: Evidence<readonly State[]>
  /** The Job that `infrastructure_pid` names, where it is none of the run's; `undefined` when there is none. */
  readonly namedJob?: Evidence<Job | undefined>
  /** The run's last heartbeat event. */
  readonly heartbeat?: Evidence<Instant | undefined>
}

/** What a rule can ask for. `cluster` means Jobs and pods, live. */
export type Need = 'flowRun' | 'cluster' | 'nodes' | 'events' | 'states' | 'namedJob' | 'heartbeat'
