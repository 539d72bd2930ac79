import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** What one queue can tell at any moment. */
export interface QueueFigures {
  /** Keys that wait for a worker, those that were added while being worked on included. */
  readonly ready: number
  /** Keys that wait for their time. */
  readonly delayed: number
  /** Keys being worked on. */
  readonly running: number
  /** Keys that failed when they were last worked on. */
  readonly failing: number
  /** How long the key that waits longest has waited for a worker, in milliseconds; 0 when none waits. */
  readonly oldestReadyMs: number
  /** How long the worker that is longest at it has worked, in milliseconds; 0 when none does. */
  readonly longestRunningMs: number
  /** The working times so far of all keys being worked on, in milliseconds. */
  readonly unfinishedMs: number
}

/** What one queue counts. Times are in milliseconds. */
export interface QueueMetrics {
  readonly added: () => void
  /** A key that had to be turned away because the queue was full. */
  readonly refused: () => void
  readonly started: (waitedMs: number) => void
  readonly finished: (tookMs: number) => void
  /** A key that will be worked on again later. */
  readonly retried: () => void
}

/** Announces a queue; its figures are read when metrics are scraped. */
export type MeasureQueue = (name: string, figures: () => QueueFigures) => QueueMetrics

/** For those who want no metrics. */
export const measureNothing: MeasureQueue = () => ({
  added: () => {},
  refused: () => {},
  started: () => {},
  finished: () => {},
  retried: () => {},
})

/** From a key that needs no request to one that waits for a Prefect that is down. */
const BUCKETS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300]

const SECOND = 1000

const GAUGES = [
  ['workqueue_depth', 'Keys that wait for a worker.', (now: QueueFigures) => now.ready],
  ['lifeguard_workqueue_delayed', 'Keys that wait for their time.', (now: QueueFigures) => now.delayed],
  ['lifeguard_workqueue_failing', 'Keys whose last try failed.', (now: QueueFigures) => now.failing],
  [
    'workqueue_unfinished_work_seconds',
    'Working time so far of all keys being worked on; a stuck worker makes it grow steadily.',
    (now: QueueFigures) => now.unfinishedMs / SECOND,
  ],
  [
    'workqueue_longest_running_processor_seconds',
    'Working time so far of the worker that is longest at it.',
    (now: QueueFigures) => now.longestRunningMs / SECOND,
  ],
] as const

/**
 * Metrics of work queues on a registry, under client-go's names where it has one, so that dashboards made for
 * controllers work here too. Source: k8s.io/component-base, metrics/prometheus/workqueue.
 */
export function measureQueues(registry: Registry): MeasureQueue {
  const registers = [registry]
  const queues = new Map<string, () => QueueFigures>()
  const { adds, refusals, retries } = queueCounters(registers)
  const { waits, works } = queueTimes(registers)
  queueGauges(registers, queues)
  return (name, figures) => {
    if (queues.has(name)) throw new Error(`there is a work queue ${name} already: give this one another name`)
    queues.set(name, figures)
    for (const counter of [adds, refusals, retries]) counter.inc({ name }, 0)
    return {
      added: () => adds.inc({ name }),
      refused: () => refusals.inc({ name }),
      started: waitedMs => waits.observe({ name }, waitedMs / SECOND),
      finished: tookMs => works.observe({ name }, tookMs / SECOND),
      retried: () => retries.inc({ name }),
    }
  }
}

function queueGauges(registers: Registry[], queues: ReadonlyMap<string, () => QueueFigures>): void {
  for (const [name, help, valueOf] of GAUGES) {
    void new Gauge({
      name,
      help,
      labelNames: ['name'],
      registers,
      collect() {
        for (const [queue, figures] of queues) this.set({ name: queue }, valueOf(figures()))
      },
    })
  }
}

function queueCounters(registers: Registry[]): Record<'adds' | 'refusals' | 'retries', Counter> {
  const counter = (name: string, help: string): Counter =>
    new Counter({ name, help, labelNames: ['name'], registers })
  return {
    adds: counter('workqueue_adds_total', 'Keys added; one that waits already is not counted again.'),
    refusals: counter('lifeguard_workqueue_refused_total', 'Keys turned away by a full queue. Must stay 0.'),
    retries: counter('workqueue_retries_total', 'Keys put back for later, after a failure or by request.'),
  }
}

function queueTimes(registers: Registry[]): Record<'waits' | 'works', Histogram> {
  const histogram = (name: string, help: string): Histogram =>
    new Histogram({ name, help, labelNames: ['name'], buckets: BUCKETS, registers })
  return {
    waits: histogram('workqueue_queue_duration_seconds', 'How long a key waited for a worker.'),
    works: histogram('workqueue_work_duration_seconds', 'How long a worker took for a key.'),
  }
}
