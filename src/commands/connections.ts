import type { ObserverDeps } from '../observer/observer.ts'
import { createReadRuns } from '../observer/read-runs.ts'
import type { Foundation } from './foundation.ts'

/** This replica no longer leads: what it was about to write, the next leader decides about. */
class NotLeading extends Error {
  override readonly name = 'NotLeading'
}

/** Lets a write through only while this replica leads; asked right before each one. */
export const fencedBy =
  (isLeader: () => boolean) =>
  <A extends readonly unknown[], R>(write: (...args: A) => Promise<R>): ((...args: A) => Promise<R>) =>
  async (...args) => {
    if (!isLeader()) throw new NotLeading('not written: this replica no longer leads')
    return write(...args)
  }

/** What the observer reads, from both APIs. */
export function readsOf({ kubernetes, prefect }: Foundation): ObserverDeps['reads'] {
  return {
    jobsOf: kubernetes.jobsOf,
    podsOf: kubernetes.podsOf,
    job: (namespace, name, signal) => kubernetes.job({ namespace, name }, signal),
    pod: (namespace, name, signal) => kubernetes.pod({ namespace, name }, signal),
    nodes: kubernetes.nodes,
    eventsOf: kubernetes.eventsOf,
    readFlowRun: createReadRuns({ one: prefect.readFlowRun, many: prefect.readFlowRuns }),
    readStates: prefect.readStates,
    lastHeartbeat: prefect.lastHeartbeat,
  }
}

/** What the observer changes, each write fenced. */
export function actsOf(
  { kubernetes, prefect }: Foundation,
  fenced: ReturnType<typeof fencedBy>,
): ObserverDeps['acts'] {
  return {
    readStates: prefect.readStates,
    readFlowRun: prefect.readFlowRun,
    inProcessSubflowsOf: prefect.inProcessSubflowsOf,
    proposeState: fenced(prefect.proposeState),
    setRetryType: fenced(prefect.setRetryType),
    suspendJob: fenced(kubernetes.suspendJob),
  }
}
