import { monitorEventLoopDelay } from 'node:perf_hooks'
import { collectDefaultMetrics, Gauge } from 'prom-client'
import type { Registry } from 'prom-client'

/** Fine enough to see what holds up a review of a few milliseconds. */
const RESOLUTION_MS = 5

const SECOND_NS = 1e9

/**
 * Process metrics under the names that prom-client gives them everywhere, and the delay of the event loop that
 * admission shares with the observer: the 99th percentile and the longest since the last scrape.
 */
export function collectProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry })
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  const gauge = new Gauge({
    name: 'lifeguard_event_loop_delay_seconds',
    help: 'Delay of the event loop since the last scrape, by quantile.',
    labelNames: ['quantile'],
    registers: [registry],
    collect: () => {
      gauge.set({ quantile: '0.99' }, delay.percentile(99) / SECOND_NS)
      gauge.set({ quantile: '1' }, delay.max / SECOND_NS)
      delay.reset()
    },
  })
}
