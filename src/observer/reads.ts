import type { JobFact, PodFact } from '../core/facts.ts'
import type { FlowRun, State } from '../core/flow-run.ts'
import type { Instant, Job, KubernetesEvent, Node, Pod } from '../core/objects.ts'

/** What the watch holds of a run, with what it held before it went away. */
export interface Seen {
  readonly jobs: readonly JobFact[]
  readonly pods: readonly PodFact[]
}

/** Everything a verdict may need to read. Each look-up rejects when it could not find out. */
export interface Reads {
  readonly now: () => Instant
  /** From memory, at no cost. */
  readonly seen: (flowRunId: string) => Seen
  readonly jobsOf: (flowRunId: string, signal: AbortSignal) => Promise<readonly Job[]>
  readonly podsOf: (flowRunId: string, signal: AbortSignal) => Promise<readonly Pod[]>
  readonly job: (namespace: string, name: string, signal: AbortSignal) => Promise<Job | undefined>
  readonly pod: (namespace: string, name: string, signal: AbortSignal) => Promise<Pod | undefined>
  readonly nodes: (
    names: readonly string[],
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, Node | undefined>>
  readonly eventsOf: (
    namespace: string,
    uids: readonly string[],
    signal: AbortSignal,
  ) => Promise<readonly KubernetesEvent[]>
  readonly readFlowRun: (flowRunId: string, signal: AbortSignal) => Promise<FlowRun | undefined>
  readonly readStates: (flowRunId: string, signal: AbortSignal) => Promise<readonly State[]>
  readonly lastHeartbeat: (
    flowRunId: string,
    since: Instant,
    signal: AbortSignal,
  ) => Promise<Instant | undefined>
}
