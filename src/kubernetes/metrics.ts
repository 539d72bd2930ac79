import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

import { watchMetrics, type WatchFigures, type WatchMetrics } from './watch/metrics.ts'

export interface KubernetesMetrics {
  readonly requested: (request: {
    readonly method: string
    readonly code: string
    readonly seconds: number
  }) => void
  readonly connections: (open: () => number) => void
  readonly watch: (resource: string, figures: () => WatchFigures) => WatchMetrics
  readonly leader: (name: string, leading: boolean) => void
}

/** For those who want no metrics. */
export const noMetrics: KubernetesMetrics = {
  requested: () => {},
  connections: () => {},
  watch: () => ({
    reconnected: () => {},
    relisted: () => {},
    missed: () => {},
    failed: () => {},
    end: () => {},
  }),
  leader: () => {},
}

/**
 * The room's metrics on a registry, under the names client-go and controller-runtime use where they have one:
 * dashboards made for those work here too.
 */
export function createKubernetesMetrics(registry: Registry): KubernetesMetrics {
  const registers = [registry]
  return {
    ...requestMetrics(registers),
    watch: watchMetrics(registers),
    leader: leaderMetrics(registers),
  }
}

function requestMetrics(registers: Registry[]): Pick<KubernetesMetrics, 'requested' | 'connections'> {
  const requests = new Counter({
    name: 'rest_client_requests_total',
    help: 'Requests to the apiserver by method and status, or the error that came instead.',
    labelNames: ['method', 'code'],
    registers,
  })
  const seconds = new Histogram({
    name: 'rest_client_request_duration_seconds',
    help: 'Time until a request to the apiserver was answered; for a watch, until it was accepted.',
    labelNames: ['verb'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers,
  })
  return {
    requested: ({ method, code, seconds: took }) => {
      requests.inc({ method, code })
      seconds.observe({ verb: method }, took)
    },
    connections: open => {
      void new Gauge({
        name: 'rest_client_connections',
        help: 'Open connections to the apiserver.',
        registers,
        collect() {
          this.set(open())
        },
      })
    },
  }
}

function leaderMetrics(registers: Registry[]): KubernetesMetrics['leader'] {
  const status = new Gauge({
    name: 'leader_election_master_status',
    help: '1 on the replica that holds the lease, 0 on the others.',
    labelNames: ['name'],
    registers,
  })
  return (name, leading) => {
    status.set({ name }, leading ? 1 : 0)
  }
}
