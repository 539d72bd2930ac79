import { createEventRecorder } from '../kubernetes/event-recorder.ts'
import { systemClock } from '../observer/clock.ts'
import type { ObserverMetrics } from '../observer/metrics.ts'
import type { ObserverDeps } from '../observer/deps.ts'
import type { Outbox } from '../observer/outbox.ts'
import { createOutbox } from '../observer/outbox.ts'
import { createReadRuns } from '../prefect/read-runs.ts'
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
function actsOf(
  { kubernetes, prefect }: Foundation,
  { readFlowRun }: ObserverDeps['reads'],
  fenced: ReturnType<typeof fencedBy>,
): ObserverDeps['acts'] {
  return {
    readStates: prefect.readStates,
    readFlowRun,
    inProcessSubflowsOf: prefect.inProcessSubflowsOf,
    proposeState: fenced(prefect.proposeState),
    setRetryType: fenced(prefect.setRetryType),
    suspendJob: fenced(kubernetes.suspendJob),
  }
}

/** What the observer tells Prefect besides states waits here for its turn. */
export const outboxOf = ({ prefect, logger }: Foundation): Outbox =>
  createOutbox({
    sendLogs: prefect.sendLogs,
    emitEvents: prefect.emitEvents,
    sleep: systemClock.sleep,
    onTrouble: trouble => {
      logger.warn(trouble, 'could not tell Prefect, will try again')
    },
  })

export interface Surroundings {
  readonly foundation: Foundation
  readonly metrics: ObserverMetrics
  readonly outbox: Outbox
}

/** Everything that verdicts are carried out and told with, each write to a run or a Job fenced. */
export function connectionsOf(
  { foundation, metrics, outbox }: Surroundings,
  fenced: ReturnType<typeof fencedBy>,
): Omit<ObserverDeps, 'jobs' | 'pods'> {
  const { kubernetes, access, config, logger } = foundation
  const recorder = createEventRecorder({ access, controller: 'prefect-lifeguard', instance: config.identity })
  const reads = readsOf(foundation)
  return {
    reads,
    acts: actsOf(foundation, reads, fenced),
    annotateJob: fenced(kubernetes.annotateJob),
    recordEvent: fenced(recorder.record),
    podLogTail: kubernetes.podLogTail,
    outbox,
    settings: config.verdict,
    logger,
    metrics,
    // What Kubernetes wrote is compared with Kubernetes' time, whatever this machine believes.
    clock: { ...systemClock, now: access.serverNow },
  }
}
