import { Registry } from 'prom-client'
import t from 'tap'

import { createObserverMetrics } from '../../src/observer/metrics.ts'

t.test('what the observer counts is exported', async t => {
  const registry = new Registry()
  const metrics = createObserverMetrics(registry)
  metrics.reconciled('success', 0.002)
  metrics.reconciled('error', 2)
  metrics.verdict('crash', 'JobFailed')
  metrics.death('oom_killed')
  metrics.reacted(1.5)
  metrics.wrote('CRASHED', 'accepted')
  metrics.repaired()
  metrics.backfilled('Job', 'applied')
  metrics.scanned('complete')
  metrics.orphans(new Map([['ours', 2]]))
  metrics.queue('flow-runs', () => ({
    ready: 3,
    delayed: 0,
    running: 0,
    failing: 0,
    oldestReadyMs: 0,
    longestRunningMs: 0,
    unfinishedMs: 0,
  }))
  const text = await registry.metrics()
  const lines = [
    'controller_runtime_reconcile_total{controller="flow-run",result="success"} 1',
    'controller_runtime_reconcile_total{controller="flow-run",result="error"} 1',
    'controller_runtime_reconcile_errors_total{controller="flow-run"} 1',
    'lifeguard_reconcile_duration_seconds_sum 2.002',
    'lifeguard_verdicts_total{kind="crash",reason="JobFailed"} 1',
    'lifeguard_deaths_total{code="oom_killed"} 1',
    'lifeguard_reaction_seconds_bucket{le="1"} 0',
    'lifeguard_reaction_seconds_bucket{le="2"} 1',
    'lifeguard_prefect_writes_total{state="CRASHED",answer="accepted"} 1',
    'lifeguard_repairs_total 1',
    'lifeguard_backfill_total{kind="Job",outcome="applied"} 1',
    'lifeguard_orphan_scans_total{result="complete"} 1',
    'lifeguard_orphans{work_pool="ours"} 2',
    'workqueue_depth{name="flow-runs"} 3',
  ]
  for (const line of lines) t.ok(text.split('\n').includes(line), line)
})

t.test('what has not happened yet is exported as 0 where alerts look for a rise', async t => {
  const registry = new Registry()
  createObserverMetrics(registry)
  const text = await registry.metrics()
  t.match(text, 'controller_runtime_reconcile_errors_total{controller="flow-run"} 0')
  t.match(text, 'lifeguard_repairs_total 0')
})
