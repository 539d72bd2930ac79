import { randomUUID } from 'node:crypto'
import type { Leadership } from '../kubernetes/lease/leadership.ts'
import { createLeadership } from '../kubernetes/lease/leadership.ts'
import type { Backfill } from '../observer/backfill.ts'
import { createBackfill } from '../observer/backfill.ts'
import { systemClock } from '../observer/clock.ts'
import type { ObserverMetrics } from '../observer/metrics.ts'
import { createObserverMetrics } from '../observer/metrics.ts'
import type { Observer } from '../observer/observer.ts'
import { createObserver } from '../observer/observer.ts'
import type { OrphanScan } from '../observer/orphans.ts'
import { createOrphanScan } from '../observer/orphans.ts'
import type { Outbox } from '../observer/outbox.ts'
import type { Recent } from '../operations/recent.ts'
import { createRecent } from '../operations/recent.ts'
import type { Check } from '../operations/status-report.ts'
import type { StatusReport, ToldVerdict } from '../operations/status-report.ts'
import { connectionsOf, fencedBy, outboxOf } from './connections.ts'
import type { Foundation } from './foundation.ts'
import { KEPT_VERDICTS, toldVerdict, watchedRuns } from './status.ts'
import type { Watches } from './watches.ts'
import { createWatches } from './watches.ts'

/** The observer's half of the process. */
export interface Observation {
  /** Watches, contends for the lease, and works while it holds it, until the signal aborts and the work has settled. */
  readonly run: (signal: AbortSignal) => Promise<void>
  readonly liveness: () => readonly Check[]
  readonly information: () => readonly Check[]
  /** For the status page. */
  readonly status: () => Pick<StatusReport, 'isLeader' | 'watched' | 'verdicts'>
}

/** A key that waited or was worked on for so long: a worker hangs, for every call has a far earlier deadline. */
const STUCK_MS = 15 * 60_000

interface Parts {
  readonly foundation: Foundation
  readonly metrics: ObserverMetrics
  readonly outbox: Outbox
  readonly watches: Watches
  readonly observer: Observer
  readonly backfill: Backfill
  readonly verdicts: Recent<ToldVerdict>
}

/** Connects the observer with both APIs. Nothing runs before `run`. */
export function createObservation(foundation: Foundation): Observation {
  const parts = createParts(foundation, () => leadership.isLeader())
  const { watches, observer } = parts
  const leadership = createLease(foundation, signal => lead(parts, signal))
  return {
    run: async signal => {
      watches.start()
      await leadership.run(signal)
      await watches.stop()
    },
    liveness: () => {
      const waited = observer.oldestAgeMs()
      return [
        {
          name: 'observer',
          ok: waited < STUCK_MS,
          detail: `the oldest work waits for ${Math.round(waited / 1000)} s`,
        },
      ]
    },
    information: () => [
      ...watches.checks(),
      {
        name: 'leadership',
        ok: true,
        detail: leadership.isLeader() ? 'this replica leads' : 'another replica leads, or none yet',
      },
    ],
    status: () => ({
      isLeader: leadership.isLeader(),
      watched: watchedRuns(watches.jobs, watches.pods, foundation.access.serverNow()),
      verdicts: parts.verdicts.list(),
    }),
  }
}

function createParts(foundation: Foundation, isLeader: () => boolean): Parts {
  const metrics = createObserverMetrics(foundation.registry)
  const outbox = outboxOf(foundation)
  const verdicts = createRecent<ToldVerdict>(KEPT_VERDICTS)
  const watches: Watches = createWatches(foundation, {
    jobChanged: change => observer.jobChanged(change),
    podChanged: change => observer.podChanged(change),
    unlabelledChanged: change => backfill.changed(change),
  })
  const observer = observerOf({ foundation, metrics, outbox, watches, verdicts }, isLeader)
  const backfill = backfillOf({ foundation, metrics, watches }, isLeader)
  return { foundation, metrics, outbox, watches, observer, backfill, verdicts }
}

function createLease(
  { access, config, logger, kubernetesMetrics }: Foundation,
  work: (signal: AbortSignal) => Promise<void>,
): Leadership {
  return createLeadership({
    access,
    namespace: config.namespace,
    name: config.service,
    identity: `${config.identity}_${randomUUID()}`,
    metrics: kubernetesMetrics,
    onStartedLeading: work,
    onStoppedLeading: () => {
      logger.info('stopped leading; admission goes on')
    },
    onNewLeader: leader => {
      logger.info({ leader }, 'a replica leads')
    },
    report: ({ what, error: err }) => {
      logger.warn({ err, what }, 'trouble with the lease')
    },
  })
}

/** The leader's work. It begins with every run there is, once the watches know them all. */
async function lead(
  { foundation, metrics, watches, observer, backfill, outbox }: Parts,
  signal: AbortSignal,
): Promise<void> {
  foundation.logger.info('leading: waiting for the watches')
  await watches.whenSynced(signal)
  foundation.logger.info('leading: looking at every run')
  const orphans = orphanScanOf({ foundation, metrics, observer })
  await Promise.all([observer.lead(signal), backfill.run(signal), orphans.run(signal), outbox.run(signal)])
}

const observerOf = (
  {
    watches,
    verdicts,
    ...surroundings
  }: Pick<Parts, 'foundation' | 'metrics' | 'outbox' | 'watches' | 'verdicts'>,
  isLeader: () => boolean,
): Observer =>
  createObserver({
    jobs: () => watches.jobs,
    pods: () => watches.pods,
    ...connectionsOf(surroundings, fencedBy(isLeader)),
    onTold: story => {
      verdicts.add(toldVerdict(story, Date.now()))
    },
  })

function backfillOf(
  { foundation, metrics, watches }: Pick<Parts, 'foundation' | 'metrics' | 'watches'>,
  isLeader: () => boolean,
): Backfill {
  const { kubernetes, prefect, logger } = foundation
  const fenced = fencedBy(isLeader)
  return createBackfill({
    jobs: watches.unlabelledJobs,
    pods: watches.unlabelledPods,
    parentOf: prefect.patientParentOf,
    addToJob: fenced((object, addition, signal) => kubernetes.addToJob(object.metadata, addition, signal)),
    addToPod: fenced((object, addition, signal) => kubernetes.addToPod(object.metadata, addition, signal)),
    logger,
    metrics,
    clock: systemClock,
  })
}

const orphanScanOf = ({
  foundation,
  metrics,
  observer,
}: Pick<Parts, 'foundation' | 'metrics' | 'observer'>): OrphanScan =>
  createOrphanScan({
    liveSubflowRuns: foundation.prefect.liveSubflowRuns,
    isKnown: observer.isAlive,
    enqueue: observer.lookAt,
    workPools: foundation.config.verdict.workPools,
    youngMs: foundation.config.verdict.graces.orphan,
    everyMs: foundation.config.orphanScanInterval,
    logger: foundation.logger,
    metrics,
    clock: { ...systemClock, now: foundation.access.serverNow },
  })
