import { Gauge, Registry } from 'prom-client'
import t from 'tap'
import { modeOf, prefectCheck, seldom, toldVerdict, watchedRuns } from '../../src/commands/status.ts'
import type { Job, Pod } from '../../src/core/objects.ts'
import type { VerdictSettings } from '../../src/core/settings.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'
import { FLOW_RUN_ID_LABEL } from '../../src/core/names.ts'
import { job, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run } from '../core/build/runs.ts'
import { decideIn } from '../core/build/world.ts'

const watched = <T extends Job | Pod>(objects: readonly T[]) => ({
  list: () => objects,
  byIndex: (flowRunId: string) =>
    objects.filter(({ metadata }) => metadata.labels[FLOW_RUN_ID_LABEL] === flowRunId),
})

const DEAD = { jobs: [job({ failed: 'BackoffLimitExceeded' })], pods: [pod({ oom: true })], run: run({}) }

t.test('of a verdict that was told the words are kept, and no object', async t => {
  const { facts, verdict, trail } = decideIn(DEAD)
  if (verdict.kind !== 'crash') throw new Error(verdict.kind)
  const told = toldVerdict({ facts, run: DEAD.run, verdict, trail, outcome: 'crashed' }, 5)
  t.match(told, {
    at: 5,
    flowRunId: FLOW_RUN_ID,
    name: DEAD.run.name,
    job: 'team/etl',
    code: 'oom_killed',
    outcome: 'crashed',
    isDeath: true,
    text: /^\[oom_killed\] .* Resolution: /,
  })
  t.equal(told.trail.at(-1), 'runIsDead: crash JobFailed')
  t.ok(JSON.stringify(told).length < 4000)
  const { job: _job, ...withoutJob } = verdict
  const bare = toldVerdict({ facts, run: undefined, verdict: withoutJob, trail, outcome: 'reported' }, 5)
  t.match(bare, { name: FLOW_RUN_ID, job: 'none' })
})

const labels = (n: number) => ({ [FLOW_RUN_ID_LABEL]: `run-${n}` })

t.test('of the watched runs those that go on come first, then the newest; not all are shown', async t => {
  const jobs = [
    job({ name: 'done', created: 100, complete: true, labels: labels(1) }),
    job({ name: 'old-attempt', created: 10, failed: 'BackoffLimitExceeded', labels: labels(2) }),
    job({ name: 'new-attempt', created: 50, labels: labels(2) }),
    ...Array.from({ length: 60 }, (_, n) =>
      job({ name: `many-${n}`, created: n, complete: true, labels: labels(n + 10) }),
    ),
  ].map(fact => fact.job)
  const { pod: ofNew } = pod({ name: 'p', of: 'new-attempt' })
  const pods = [{ ...ofNew, metadata: { ...ofNew.metadata, labels: labels(2) } }]
  const { shown, ...counts } = watchedRuns(watched(jobs), watched(pods), Date.now())
  t.strictSame(counts, { runs: 62, jobs: 63, pods: 1 })
  t.equal(shown.length, 50)
  t.match(shown, [
    { flowRunId: 'run-2', job: 'team/new-attempt', state: 'JobIsActive', isAlive: true, pods: 'Running' },
    { flowRunId: 'run-1', job: 'team/done', state: 'JobComplete', isAlive: false, pods: 'none' },
    { job: 'team/many-59' },
  ])
})

t.test('how it stands with Prefect is what the breaker says', async t => {
  const registry = new Registry()
  t.match(await prefectCheck(registry), { name: 'Prefect', ok: true })
  const gauge = new Gauge({ name: 'lifeguard_prefect_breaker_state', help: 'x', registers: [registry] })
  for (const [state, ok] of [true, false, false].entries()) {
    gauge.set(state)
    t.match(await prefectCheck(registry), { ok }, `state ${state}`)
  }
})

const mode = (failureState: VerdictSettings['failureState']) => modeOf({ ...DEFAULT_SETTINGS, failureState })

t.test('what becomes of dead runs is told', async t => {
  t.match(mode('report'), 'no state is changed')
  t.match(mode('crashed'), 'become Crashed')
  t.match(mode('failed'), 'become Failed')
})

t.test('a page is made at most every two seconds, however often it is asked for', async t => {
  let now = 0
  let made = 0
  const page = seldom(
    async () => String(++made),
    () => now,
  )
  t.strictSame(await Promise.all([page(), page()]), ['1', '1'])
  now = 1999
  t.equal(await page(), '1')
  now = 2000
  t.equal(await page(), '2')
})
