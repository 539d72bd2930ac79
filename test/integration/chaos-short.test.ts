import t from 'tap'
import { runChaos } from '../chaos/run.ts'

/** Its minute has half-open connections, error bursts, lost answers, a 410, a kill -9 and clocks that are off, and twelve kinds of lives. */
const SEED = 82

t.test('a minute of faults: no death is lost, no run is wronged', async t => {
  const report = await runChaos({
    seed: SEED,
    durationMs: 60_000,
    jobsPerMinute: 60,
    log: line => t.comment(line),
  })
  t.same(report.complaints, [])
  t.equal(report.lost, 0, 'none lost')
  t.equal(report.wrong, 0, 'none wrong')
  t.equal(report.figures['lifeguard_watch_missed_total'], 0, 'no watch lied')
  t.ok(report.deaths > 0 && report.faults > 0, `${report.deaths} deaths, ${report.faults} faults`)
})
