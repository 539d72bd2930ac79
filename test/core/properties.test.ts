import fc from 'fast-check'
import t from 'tap'
import { decide } from '../../src/core/decide.ts'
import type { Facts } from '../../src/core/facts.ts'
import { isFinal, isInProcessRetry } from '../../src/core/flow-run.ts'
import { ATTEMPT_MARK } from '../../src/core/moves.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'
import type { Verdict } from '../../src/core/verdict.ts'
import type { Cluster } from './build/arbitrary.ts'
import { deadCluster, deadWorld, history, liveJob, livePod, now, runIn, settings } from './build/arbitrary.ts'
import { job, pod, warning } from './build/objects.ts'
import { run, state, states } from './build/runs.ts'
import type { World } from './build/world.ts'
import { decideIn, seenIn, settingsOf, UNKNOWN } from './build/world.ts'

const RUNS = { numRuns: 500 }

const MOVES: ReadonlySet<Verdict['kind']> = new Set(['crash', 'newAttempt', 'cancel'])

const moves = (world: World): boolean => MOVES.has(decideIn(world).verdict.kind)

const together = (...clusters: readonly Cluster[]): Cluster => ({
  jobs: clusters.flatMap(({ jobs }) => jobs),
  pods: clusters.flatMap(({ pods }) => pods),
})

t.test('a run with a live Job or pod is never moved, whatever else of it is dead, and whatever Prefect says', async t => {
  const world = fc
    .tuple(deadWorld(), fc.oneof(liveJob, livePod))
    .chain(([dead, live]) => {
      const { jobs, pods } = together(dead, live)
      return fc.record({
        world: fc.constant(dead),
        jobs: fc.shuffledSubarray([...jobs], { minLength: jobs.length }),
        pods: fc.shuffledSubarray([...pods], { minLength: pods.length }),
      })
    })
    .map(({ world, jobs, pods }) => ({ ...world, jobs, pods }))
  fc.assert(
    fc.property(world, world => !moves(world)),
    RUNS,
  )
  t.pass()
})

t.test('a start that is stuck ends no run that has another live Job or pod', async t => {
  const stuck: Cluster = {
    jobs: [job({ name: 'stuck', created: 31 })],
    pods: [pod({ name: 'stuck', of: 'stuck', waiting: 'InvalidImageName' })],
  }
  const world = fc.tuple(deadWorld(), fc.oneof(liveJob, livePod)).map(([dead, live]) => ({
    ...dead,
    ...together(dead, live, stuck),
    settings: { ...dead.settings, stuckStart: 'crash' as const },
  }))
  fc.assert(
    fc.property(world, world => !moves(world)),
    RUNS,
  )
  t.pass()
})

t.test('what could not be found out never moves a run', async t => {
  const unknowns = fc.constantFrom<Partial<World>>(
    { jobs: UNKNOWN },
    { pods: UNKNOWN },
    { live: { jobs: UNKNOWN } },
    { live: { pods: UNKNOWN } },
    { run: UNKNOWN },
  )
  const stuck: Partial<World> = {
    jobs: [job({ name: 'stuck', created: 31 })],
    events: [warning('FailedCreate', { kind: 'Job', name: 'stuck', seen: 32 })],
  }
  const world = fc
    .tuple(deadWorld(), unknowns, fc.boolean())
    .map(([dead, unknown, isStuck]) => ({ ...dead, ...(isStuck && stuck), ...unknown }))
  fc.assert(
    fc.property(world, world => !moves(world)),
    RUNS,
  )
  t.pass()
})

t.test('what could not be found out when it was asked for never moves a run', async t => {
  const silent: Partial<World> = { states: UNKNOWN, namedJob: UNKNOWN, heartbeat: UNKNOWN, nodes: UNKNOWN }
  const asked = new Set(['states', 'namedJob', 'heartbeat', 'nodes'])
  fc.assert(
    fc.property(deadWorld(), world => {
      const { verdict, asked: needs } = decideIn({ ...world, ...silent })
      return needs.every(need => !asked.has(need)) || !MOVES.has(verdict.kind)
    }),
    RUNS,
  )
  t.pass()
})

t.test('a run that is final, Scheduled for a worker, or Paused is never moved', async t => {
  fc.assert(
    fc.property(deadWorld(), world => {
      const { state: found } = world.run
      const isLeftAlone =
        isFinal(found) || found.type === 'PAUSED' || (found.type === 'SCHEDULED' && !isInProcessRetry(world.run))
      return !isLeftAlone || !moves(world)
    }),
    RUNS,
  )
  t.pass()
})

t.test('a run that is being cancelled is cancelled or left alone, dead or stuck', async t => {
  const world = fc
    .tuple(deadWorld(['Cancelling']), fc.boolean())
    .map(([dead, isStuck]) =>
      isStuck ? { ...dead, jobs: [job()], pods: [pod({ waiting: 'InvalidImageName' })] } : dead,
    )
  fc.assert(
    fc.property(world, world => !['crash', 'newAttempt'].includes(decideIn(world).verdict.kind)),
    RUNS,
  )
  t.pass()
})

t.test('where only reports are wanted, nothing is moved', async t => {
  const world = fc.tuple(deadWorld(), fc.boolean()).map(([dead, isStuck]) => ({
    ...dead,
    ...(isStuck && { jobs: [job()], pods: [pod({ waiting: 'InvalidImageName' })] }),
    settings: { ...dead.settings, failureState: 'report' as const },
  }))
  fc.assert(
    fc.property(world, world => !moves(world)),
    RUNS,
  )
  t.pass()
})

/** More waits than any run needs: for a report, a node, a newer state, a silent heart, a close call. */
const ENOUGH = 8

/** Waits as it is told, until there is something else to do. */
function settled(world: World): Exclude<Verdict, { kind: 'ask' | 'requeue' }> {
  let time = world.now ?? 0
  for (let round = 0; round < ENOUGH; round += 1) {
    const { verdict } = decideIn({ ...world, now: time })
    if (verdict.kind !== 'requeue') return verdict
    time += verdict.afterMs / 1000
  }
  throw new Error(`Still waiting after ${ENOUGH} rounds`)
}

t.test('once everything is dead, waiting as told leads to an end', async t => {
  fc.assert(
    fc.property(deadWorld(), world => {
      settled(world)
      return true
    }),
    RUNS,
  )
  t.pass()
})

t.test('a run that Prefect believes to be Running, and whose own Job is dead, is moved in the end', async t => {
  const world = fc
    .tuple(deadWorld(['Running', 'Retrying']), fc.integer({ min: -60, max: 30 }))
    .map(([dead, created]) => ({
      ...dead,
      run: { ...dead.run, infrastructurePid: 'team:own' },
      jobs: [...dead.jobs, job({ name: 'own', uid: 'own', created, failed: 'BackoffLimitExceeded' })],
    }))
  fc.assert(
    fc.property(world, world => MOVES.has(settled(world).kind)),
    RUNS,
  )
  t.pass()
})

t.test('forgetting what is gone, as after a restart, leads to the same end', async t => {
  const world = deadWorld(['Running', 'Retrying', 'Cancelling']).map(dead => ({
    ...dead,
    run: { ...dead.run, infrastructurePid: 'team:etl' },
    settings: { ...dead.settings, workPools: ['kubernetes'] },
  }))
  const kindOf = (world: World): string => settled(world).kind
  fc.assert(
    fc.property(world, world => {
      const { jobs, pods } = world
      const forgotten = { jobs: jobs.filter(({ gone }) => !gone), pods: pods.filter(({ gone }) => !gone) }
      return kindOf(world) === kindOf({ ...world, ...forgotten })
    }),
    RUNS,
  )
  t.pass()
})

t.test('neither order nor repetition of Jobs and pods matters', async t => {
  const world = fc.tuple(deadWorld(), fc.oneof(fc.constant({ jobs: [], pods: [] }), liveJob, livePod)).chain(([dead, live]) => {
    const { jobs, pods } = together(dead, live)
    return fc.record({
      world: fc.constant({ ...dead, jobs, pods }),
      jobs: fc.shuffledSubarray([...jobs, ...jobs], { minLength: jobs.length }).map(some => [...some, ...jobs]),
      pods: fc.shuffledSubarray([...pods, ...pods], { minLength: pods.length }).map(some => [...some, ...pods]),
    })
  })
  fc.assert(
    fc.property(world, ({ world, jobs, pods }) => {
      t.strictSame(decideIn({ ...world, jobs, pods }).verdict, decideIn(world).verdict)
    }),
    { numRuns: 200 },
  )
})

t.test('facts that were written down and read again give the same decision, at every step', async t => {
  const again = (facts: Facts): Facts => JSON.parse(JSON.stringify(facts)) as Facts
  fc.assert(
    fc.property(deadWorld(), world => {
      const { facts } = decideIn(world)
      for (const known of [seenIn(world), facts])
        t.strictSame(decide(again(known), settingsOf(world)), decide(known, settingsOf(world)))
    }),
    { numRuns: 200 },
  )
})

t.test('a run that dies again and again is not started more often than allowed', async t => {
  const limits = fc.record({ retries: fc.nat({ max: 9 }), maxNewAttempts: fc.nat({ max: 6 }), starts: fc.boolean() })
  fc.assert(
    fc.property(limits, ({ retries, maxNewAttempts, starts }) => {
      const caused = attemptsOf({ retries, maxNewAttempts, starts })
      t.equal(caused, Math.min(retries, maxNewAttempts), `${retries} retries, at most ${maxNewAttempts} new attempts`)
    }),
    { numRuns: 100 },
  )
})

/** How many new attempts a run is given that dies each time, whether it comes to be Running before or not. */
function attemptsOf(limits: { retries: number; maxNewAttempts: number; starts: boolean }): number {
  const past = [...states('Scheduled', 'Pending')]
  for (let attempt = 1; ; attempt += 1) {
    const time = attempt * 100
    const { verdict } = decideIn({
      now: time + 60,
      jobs: [job({ created: time, ended: time + 30, failed: 'BackoffLimitExceeded' })],
      pods: [pod({ exitCode: 1 })],
      run: run({
        state: limits.starts ? `Running@${time}` : `Pending@${time - 10}`,
        runCount: limits.starts ? attempt : 0,
        retries: limits.retries,
      }),
      states: past,
      settings: { maxNewAttempts: limits.maxNewAttempts },
    })
    if (verdict.kind !== 'newAttempt') return attempt - 1
    past.push({ ...state(`AwaitingRetry@${time + 60}`), message: ATTEMPT_MARK }, state(`Pending@${time + 90}`))
  }
}

t.test('a Pending run whose newest Job is older than its attempt is never moved', async t => {
  const world = fc
    .record({ cluster: deadCluster, past: history, start: fc.integer({ min: 36, max: 70 }), now, settings, found: runIn(['Pending']) })
    .map(({ cluster, past, start, found, ...rest }) => ({
      ...rest,
      ...cluster,
      jobs: cluster.jobs.filter(({ job }) => job.metadata.uid === 'job-0'),
      run: { ...found, state: state(`Pending@${start}`) },
      states: [...past.filter(({ type }) => type === 'RUNNING'), ...states('Scheduled@-90', 'Pending@-89', 'AwaitingRetry@35', `Pending@${start}`)],
    }))
    .filter(({ jobs }) => jobs.length > 0)
  fc.assert(
    fc.property(world, world => !moves(world)),
    RUNS,
  )
  t.pass()
})

t.test('a run whose state is newer than everything that died is never moved while its heart beats', async t => {
  const world = deadWorld(['Running', 'Pending', 'Retrying', 'Submitting'])
    .map(dead => ({ ...dead, run: { ...dead.run, state: { ...dead.run.state, timestamp: dead.run.state.timestamp + 200_000 } } }))
    .map(dead => ({ ...dead, heartbeat: dead.now - 100 }))
  fc.assert(
    fc.property(world, world => !moves(world)),
    RUNS,
  )
  t.pass()
})

t.test('a dead Job that anybody labelled moves no run whose infrastructure_pid names another one', async t => {
  const world = deadWorld().map(dead => ({
    ...dead,
    run: { ...dead.run, infrastructurePid: 'team:real' },
    namedJob: job({ name: 'real' }),
  }))
  fc.assert(
    fc.property(world, world => !moves(world)),
    RUNS,
  )
  t.pass()
})

t.test('every verdict says why, and a trail that ends with it', async t => {
  fc.assert(
    fc.property(deadWorld(), world => {
      const { verdict, trail } = decideIn(world)
      return (
        /^[A-Z][A-Za-z]+$/.test(verdict.reason) &&
        trail.rules.at(-1)?.answer === `${verdict.kind} ${verdict.reason}` &&
        trail.rules.slice(0, -1).every(({ answer }) => answer === undefined)
      )
    }),
    RUNS,
  )
  t.pass()
})

t.test('no wait is longer than ten minutes', async t => {
  for (const [grace, wait] of Object.entries(DEFAULT_SETTINGS.graces)) t.ok(wait > 0 && wait <= 600_000, grace)
})
