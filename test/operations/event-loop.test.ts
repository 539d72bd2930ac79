import { setTimeout as sleep } from 'node:timers/promises'
import { Registry } from 'prom-client'
import t from 'tap'
import { collectProcessMetrics } from '../../src/operations/event-loop.ts'

t.test('the delay of the event loop is measured, and Node’s own figures are there', async t => {
  const registry = new Registry()
  collectProcessMetrics(registry)
  await sleep(20)
  // Whoever holds the loop holds up admission: this is to be seen.
  const until = performance.now() + 60
  while (performance.now() < until);
  await sleep(20)
  const text = await registry.metrics()
  t.match(text, /^process_cpu_seconds_total \d/m)
  t.match(text, /^nodejs_version_info/m)
  const longest = Number(/^lifeguard_event_loop_delay_seconds\{quantile="1"\} (\S+)$/m.exec(text)?.[1])
  t.ok(longest > 0.03, `${longest} s, in seconds`)
  t.match(text, /^lifeguard_event_loop_delay_seconds\{quantile="0.99"\} \d/m)
})
