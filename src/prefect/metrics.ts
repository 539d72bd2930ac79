import { Counter, Gauge, Histogram } from 'prom-client'
import type { Registry } from 'prom-client'

import { BREAKER_STATES } from './breaker.ts'
import type { BreakerState } from './breaker.ts'

export interface Metrics {
  /** A request that was sent: its HTTP status, or `timeout`, `aborted`, `unreachable`. */
  readonly request: (request: {
    readonly operation: string
    /** Method and path, ids left out. */
    readonly endpoint: string
    readonly status: string
    readonly seconds: number
  }) => void
  readonly breaker: (state: BreakerState) => void
  readonly lookup: (result: 'hit' | 'miss') => void
}

/** From a local server's 5 ms to the longest a request may take. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

export const createMetrics = (registry: Registry): Metrics => {
  const registers = [registry]
  const requests = new Counter({
    name: 'lifeguard_prefect_requests_total',
    help: 'Requests sent to the Prefect API, by what they were for, endpoint and HTTP status',
    labelNames: ['operation', 'endpoint', 'status'] as const,
    registers,
  })
  const durations = new Histogram({
    name: 'lifeguard_prefect_request_duration_seconds',
    help: 'How long the Prefect API took to answer',
    labelNames: ['operation'] as const,
    buckets: DURATION_BUCKETS,
    registers,
  })
  const breaker = new Gauge({
    name: 'lifeguard_prefect_breaker_state',
    help: 'Circuit breaker towards Prefect, the worse of admission and observer: 0 closed, 1 half-open (one request out to see), 2 open',
    registers,
  })
  const lookups = new Counter({
    name: 'lifeguard_prefect_lookups_total',
    help: 'Look-ups of a flow run parent, answered from the cache (hit) or asked of Prefect (miss)',
    labelNames: ['result'] as const,
    registers,
  })
  return {
    request: ({ operation, endpoint, status, seconds }) => {
      requests.inc({ operation, endpoint, status })
      durations.observe({ operation }, seconds)
    },
    breaker: state => {
      breaker.set(BREAKER_STATES[state])
    },
    lookup: result => {
      lookups.inc({ result })
    },
  }
}
