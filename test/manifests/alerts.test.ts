import { readFile } from 'node:fs/promises'
import t from 'tap'
import { parse } from 'yaml'
import { z } from 'zod'
import { alerts, ruleFile } from './monitoring.ts'
import { installedPromtool, testAlerts } from './promtool.ts'

/** When the alerts fire and when they do not: alerts.yaml, by promtool where it is installed (`npm run alerts` builds it). */

t.setTimeout(120_000)

const testSchema = z.object({
  tests: z.array(
    z.object({
      name: z.string(),
      alert_rule_test: z.array(z.object({ alertname: z.string(), exp_alerts: z.array(z.unknown()) })),
    }),
  ),
})
const { tests } = testSchema.parse(parse(await readFile(new URL('alerts.yaml', import.meta.url), 'utf8')))
const expectations = tests.flatMap(test => test.alert_rule_test)

for (const { alert } of alerts)
  t.test(`${alert} is tested`, async t => {
    const ofIt = expectations.filter(({ alertname }) => alertname === alert)
    t.ok(
      ofIt.some(expected => expected.exp_alerts.length > 0),
      'when it fires',
    )
  })

const promtool = await installedPromtool()
const skip = promtool ? false : 'promtool is not installed; `npm run alerts` brings it'

t.test('they fire when they should, and are quiet when they should be', { skip }, async t => {
  if (!promtool) return
  t.match(await testAlerts(promtool), /SUCCESS: \d+ rules found[\s\S]*SUCCESS/)
})

t.test('a rule that is wrong is noticed', { skip }, async t => {
  if (!promtool) return
  const text = JSON.stringify(ruleFile)
  const wrong = text.replace('> 300', '> 3000')
  t.not(wrong, text)
  await t.rejects(
    testAlerts(promtool, z.looseObject({}).parse(JSON.parse(wrong))),
    /PrefectLifeguardWatchIsStale/,
  )
})
