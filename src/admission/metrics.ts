import { Counter, Gauge, Histogram } from 'prom-client'
import type { Registry } from 'prom-client'
import type { Outcome } from './decision.ts'
import type { Review } from './review.ts'

export interface AdmissionMetrics {
  /** `count` tells how many reviews of a webhook are under way, whenever somebody reads the metrics. */
  readonly watchInFlight: (webhook: string, count: () => number) => void
  /** `code` is the HTTP status of the answer. */
  readonly finished: (webhook: string, code: number, seconds: number) => void
  readonly decided: (kind: Review['kind'], outcome: Outcome) => void
  readonly panicked: () => void
}

/**
 * From 1 ms, where a cached look-up answers, to the apiserver's time-out of 2 s; controller-runtime starts at 5 ms,
 * which hides what a webhook costs.
 */
const LATENCY_BUCKETS = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2]

/** Metrics of the webhooks, under controller-runtime's names where it has one, so that its dashboards work. `webhook` is the path. */
export function createAdmissionMetrics(registry: Registry): AdmissionMetrics {
  const registers = [registry]
  const underWay = new Map<string, () => number>()
  const { requests, latency } = createRequestMetrics(registers, underWay)
  const panics = new Counter({
    name: 'controller_runtime_webhook_panics_total',
    help: 'Admission requests let through because of a defect of ours.',
    registers,
  })
  const outcomes = new Counter({
    name: 'lifeguard_admission_outcomes_total',
    help: 'Reviews by kind and by what became of them.',
    labelNames: ['kind', 'outcome'],
    registers,
  })
  return {
    watchInFlight: (webhook, count) => void underWay.set(webhook, count),
    finished: (webhook, code, seconds) => {
      requests.inc({ webhook, code })
      latency.observe({ webhook }, seconds)
    },
    decided: (kind, outcome) => outcomes.inc({ kind, outcome }),
    panicked: () => panics.inc(),
  }
}

const createRequestMetrics = (registers: Registry[], underWay: ReadonlyMap<string, () => number>) => ({
  requests: new Counter({
    name: 'controller_runtime_webhook_requests_total',
    help: 'Admission requests by HTTP status code.',
    labelNames: ['webhook', 'code'],
    registers,
  }),
  latency: new Histogram({
    name: 'controller_runtime_webhook_latency_seconds',
    help: 'Time to answer an admission request.',
    labelNames: ['webhook'],
    buckets: LATENCY_BUCKETS,
    registers,
  }),
  inFlight: new Gauge({
    name: 'controller_runtime_webhook_requests_in_flight',
    help: 'Admission requests being served.',
    labelNames: ['webhook'],
    registers,
    collect() {
      for (const [webhook, count] of underWay) this.set({ webhook }, count())
    },
  }),
})
