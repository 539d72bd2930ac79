import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

import type { DiagnosisCode } from '../core/diagnosis/codes.ts'
import type { StateType } from '../core/flow-run.ts'
import type { Verdict } from '../core/verdict.ts'
import { measureQueues, type MeasureQueue } from './queue/metrics.ts'

/** How one reconciliation ended; controller-runtime's words. */
type ReconcileResult = 'success' | 'requeue_after' | 'error'

/** What became of an object that admission missed, or of its run. */
export type BackfillOutcome =
  'applied' | 'unchanged' | 'gone' | 'conflict' | 'failed' | 'topLevel' | 'notFound' | 'noUuid'

/** How one comparison of Prefect with the cluster ended. */
type ScanResult = 'complete' | 'truncated' | 'failed'

/** Everything the observer counts; the watches, leadership and both APIs have metrics of their own. */
export interface ObserverMetrics {
  readonly queue: MeasureQueue
  readonly reconciled: (result: ReconcileResult, seconds: number) => void
  readonly verdict: (kind: Verdict['kind'], reason: string) => void
  /** A run that Kubernetes has given up on, once per death. */
  readonly death: (code: DiagnosisCode) => void
  /** From the end of the Job, by Kubernetes' clock, to the new state, by ours. */
  readonly reacted: (seconds: number) => void
  /** What a write to Prefect was answered: the kind of its `Proposal`, or `unavailable`. */
  readonly wrote: (state: StateType, answer: string) => void
  /** A state that was put back because somebody had been faster. */
  readonly repaired: () => void
  readonly backfilled: (kind: 'Job' | 'Pod', outcome: BackfillOutcome) => void
  readonly scanned: (result: ScanResult) => void
  /** The orphans of the last complete scan, by work pool (empty for a run without one). */
  readonly orphans: (byWorkPool: ReadonlyMap<string, number>) => void
}

/** From a look at the cache to a wait for a Prefect that is slow. */
const RECONCILE_BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** Kubernetes writes whole seconds, so the low end is coarse; the high end is a lost node, a grace, an outage. */
const REACTION_BUCKETS = [0.25, 0.5, 1, 2, 3, 5, 10, 30, 60, 120, 300, 600, 1800, 3600]

/** controller-runtime's label for which of several controllers a figure is of. */
const CONTROLLER = { controller: 'flow-run' } as const

/** The observer's metrics on a registry, under controller-runtime's and client-go's names where they have one. */
export function createObserverMetrics(registry: Registry): ObserverMetrics {
  const registers = [registry]
  return {
    queue: measureQueues(registry),
    ...reconcileMetrics(registers),
    ...verdictMetrics(registers),
    ...writeMetrics(registers),
    ...sweepMetrics(registers),
  }
}

function reconcileMetrics(registers: Registry[]): Pick<ObserverMetrics, 'reconciled'> {
  const total = new Counter({
    name: 'controller_runtime_reconcile_total',
    help: 'Reconciliations of a flow run, by result.',
    labelNames: ['controller', 'result'],
    registers,
  })
  const errors = new Counter({
    name: 'controller_runtime_reconcile_errors_total',
    help: 'Reconciliations of a flow run that failed and will be repeated.',
    labelNames: ['controller'],
    registers,
  })
  const seconds = new Histogram({
    name: 'lifeguard_reconcile_duration_seconds',
    help: 'How long one reconciliation of a flow run took.',
    buckets: RECONCILE_BUCKETS,
    registers,
  })
  errors.inc(CONTROLLER, 0)
  return {
    reconciled: (result, took) => {
      total.inc({ ...CONTROLLER, result })
      seconds.observe(took)
      if (result === 'error') errors.inc(CONTROLLER)
    },
  }
}

function verdictMetrics(registers: Registry[]): Pick<ObserverMetrics, 'verdict' | 'death' | 'reacted'> {
  const verdicts = new Counter({
    name: 'lifeguard_verdicts_total',
    help: 'Verdicts about flow runs, by kind and by the reason of the rule that decided.',
    labelNames: ['kind', 'reason'],
    registers,
  })
  const deaths = new Counter({
    name: 'lifeguard_deaths_total',
    help: 'Flow runs that Kubernetes has given up on, by diagnosis.',
    labelNames: ['code'],
    registers,
  })
  const reaction = new Histogram({
    name: 'lifeguard_reaction_seconds',
    help: 'From the end of a Job to the new state of its flow run.',
    buckets: REACTION_BUCKETS,
    registers,
  })
  return {
    verdict: (kind, reason) => verdicts.inc({ kind, reason }),
    death: code => deaths.inc({ code }),
    reacted: seconds => reaction.observe(seconds),
  }
}

function writeMetrics(registers: Registry[]): Pick<ObserverMetrics, 'wrote' | 'repaired'> {
  const writes = new Counter({
    name: 'lifeguard_prefect_writes_total',
    help: "States proposed to Prefect, by type and by Prefect's answer.",
    labelNames: ['state', 'answer'],
    registers,
  })
  const repairs = new Counter({
    name: 'lifeguard_repairs_total',
    help: 'States put back because somebody had made a newer one before ours. Each was a race; few is normal.',
    registers,
  })
  return { wrote: (state, answer) => writes.inc({ state, answer }), repaired: () => repairs.inc() }
}

function sweepMetrics(registers: Registry[]): Pick<ObserverMetrics, 'backfilled' | 'scanned' | 'orphans'> {
  const backfill = new Counter({
    name: 'lifeguard_backfill_total',
    help: 'Jobs and pods that admission missed, by what became of them.',
    labelNames: ['kind', 'outcome'],
    registers,
  })
  const scans = new Counter({
    name: 'lifeguard_orphan_scans_total',
    help: "Comparisons of Prefect's live subflow runs with the cluster, by result.",
    labelNames: ['result'],
    registers,
  })
  const orphans = new Gauge({
    name: 'lifeguard_orphans',
    help: 'Live subflow runs that no Job or pod of the cluster can move, at the last scan.',
    labelNames: ['work_pool'],
    registers,
  })
  return {
    backfilled: (kind, outcome) => backfill.inc({ kind, outcome }),
    scanned: result => scans.inc({ result }),
    orphans: byWorkPool => {
      orphans.reset()
      for (const [workPool, count] of byWorkPool) orphans.set({ work_pool: workPool }, count)
    },
  }
}
