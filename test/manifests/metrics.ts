import { pino } from 'pino'
import { Registry } from 'prom-client'
import { z } from 'zod'
import { createAdmissionMetrics } from '../../src/admission/metrics.ts'
import { createProbes } from '../../src/admission/probes.ts'
import { createCertificateMetrics } from '../../src/certificates/metrics.ts'
import { createKubernetesMetrics } from '../../src/kubernetes/metrics.ts'
import { createObserverMetrics } from '../../src/observer/metrics.ts'
import { collectProcessMetrics } from '../../src/operations/event-loop.ts'
import { createMetrics } from '../../src/prefect/metrics.ts'

const metricSchema = z.array(
  z.looseObject({ name: z.string(), type: z.string(), labelNames: z.array(z.string()) }),
)

/** Each series that the program can have, under the name by which Prometheus knows it, and its labels. */
export function exportedSeries(): ReadonlyMap<string, ReadonlySet<string>> {
  const registry = new Registry()
  createAdmissionMetrics(registry)
  createCertificateMetrics(registry)
  createKubernetesMetrics(registry).connections(() => 0)
  createObserverMetrics(registry)
  createMetrics(registry)
  collectProcessMetrics(registry)
  const patience = { everyMs: 1, deadlineMs: 1, now: () => new Date() }
  createProbes({ attempts: {}, ...patience, logger: pino({ enabled: false }), registry })
  return new Map(metricSchema.parse(registry.getMetricsAsArray()).flatMap(seriesOf))
}

const seriesOf = ({
  name,
  type,
  labelNames,
}: z.infer<typeof metricSchema>[number]): readonly (readonly [string, ReadonlySet<string>])[] =>
  type === 'histogram'
    ? [
        [`${name}_bucket`, new Set([...labelNames, 'le'])],
        [`${name}_sum`, new Set(labelNames)],
        [`${name}_count`, new Set(labelNames)],
      ]
    : [[name, new Set(labelNames)]]

/** What Prometheus adds to each series that it scrapes. */
export const OF_PROMETHEUS: ReadonlySet<string> = new Set(['job', 'instance'])
