import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { z } from 'zod'
import { MANIFESTS } from './render.ts'

/** monitoring.coreos.com/v1 PrometheusRule, as far as we use it; its groups are a rule file of Prometheus. */
const ruleSchema = z.looseObject({
  spec: z.strictObject({
    groups: z.array(
      z.strictObject({
        name: z.string(),
        rules: z.array(
          z.strictObject({
            alert: z.string(),
            expr: z.string(),
            for: z.string().regex(/^\d+m$/),
            labels: z.strictObject({ severity: z.enum(['warning', 'critical']) }),
            annotations: z.strictObject({
              summary: z.string(),
              description: z.string(),
              runbook_url: z.string(),
            }),
          }),
        ),
      }),
    ),
  }),
})

/** Grafana's dashboard model (schema version 39), as far as we use it. */
const place = z.strictObject({ h: z.number(), w: z.number(), x: z.number(), y: z.number() })
const source = z.strictObject({ type: z.literal('prometheus'), uid: z.literal('${datasource}') })
const panelSchema = z.looseObject({
  type: z.enum(['row', 'stat', 'timeseries']),
  id: z.number(),
  title: z.string(),
  description: z.string().optional(),
  gridPos: place,
  datasource: source.optional(),
  targets: z
    .array(
      z.looseObject({ refId: z.string(), datasource: source, expr: z.string(), legendFormat: z.string() }),
    )
    .optional(),
})
const dashboardSchema = z.looseObject({
  uid: z.string(),
  schemaVersion: z.literal(39),
  templating: z.object({ list: z.array(z.looseObject({ name: z.string(), type: z.string() })) }),
  panels: z.array(panelSchema),
})

const read = (path: string): Promise<string> => readFile(new URL(path, MANIFESTS), 'utf8')

export const ruleFile = ruleSchema.parse(parse(await read('components/monitoring/rules.yaml'))).spec
export const alerts = ruleFile.groups.flatMap(({ rules }) => rules)
export const dashboard = dashboardSchema.parse(
  JSON.parse(await read('components/dashboard/prefect-lifeguard.json')),
)

/** Every query of alerts and dashboard, with where it stands. */
export const queries: readonly { readonly where: string; readonly expr: string }[] = [
  ...alerts.map(({ alert, expr }) => ({ where: alert, expr })),
  ...dashboard.panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ refId, expr }) => ({ where: `${title} (${refId})`, expr })),
  ),
]
