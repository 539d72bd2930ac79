import t from 'tap'
import { runOutage } from '../outage/run.ts'

// Half a minute, most of it arrivals; on a busy machine many times that.
t.setTimeout(600_000)

t.test('Prefect is gone in the middle of 200 deaths: all end right, and nobody storms it', async t => {
  const DEATHS = 200
  const { complaints, unanswered, requests, admission } = await runOutage({
    deaths: DEATHS,
    downMs: 10_000,
    log: line => t.comment(line),
  })
  t.same(complaints, [], 'each Crashed once, with its diagnosis in state and logs')
  t.ok(unanswered > 0 && unanswered <= 30, `${unanswered} requests met nobody`)
  const { parentOf = 0, ...others } = requests
  const forDeaths = Object.values(others).reduce((sum, count) => sum + count, 0)
  t.ok(forDeaths <= 4 * DEATHS, `${forDeaths} for the deaths: ${JSON.stringify(requests)}`)
  t.ok(parentOf > 0 && parentOf <= 30, `${parentOf} for arrivals in a burst, and look-ups in the outage`)
  t.equal(admission.failed, 0, 'no webhook call failed')
  t.same(admission.fromMemory, [10, 10], 'Jobs of runs that are known are labelled as ever')
  t.same(admission.unknown, [10, 10], 'others pass, and are labelled when Prefect is back')
  t.ok(admission.passed >= 10, `${admission.passed} passed without an answer`)
})
