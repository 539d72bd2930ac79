import * as fc from 'fast-check'
import type { Test } from 'tap'
import t from 'tap'
import { decide } from '../../src/core/decide.ts'
import type { Facts } from '../../src/core/facts.ts'
import { isFinal, isInProcessRetry } from '../../src/core/flow-run.ts'
import { ATTEMPT_MARK } from '../../src/core/moves.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'
import type { Verdict } from '../../src/core/verdict.ts'
import type { Cluster, DeadWorld } from './build/arbitrary.ts'
import { deadWorld, history, liveJob, livePod } from './build/arbitrary.ts'
import { job, pod, warning } from './build/objects.ts'
import { run, state, states } from './build/runs.ts'
import type { World } from './build/world.ts'
import { decideIn, seenIn, settingsOf, UNKNOWN, waitIn } from './build/world.ts'

const MOVES: ReadonlySet<string> = new Set<Verdict['kind']>(['crash', 'newAttempt', 'cancel'])

const moves = (world: World): boolean => MOVES.has(decideIn(world).verdict.kind)

/** A world, and what is different in it. */
const but = <W extends World>(world: W, parts: Partial<W>): W => ({ ...world, ...parts })

const together = (...clusters: readonly Cluster[]): Cluster => ({
  jobs: clusters.flatMap(({ jobs }) => jobs),
  pods: clusters.flatMap(({ pods }) => pods),
})

/** A Job that cannot start, newer than all others. */
const STUCK: Cluster = {
  jobs: [job({ name: 'stuck', created: 31 })],
  pods: [pod({ name: 'stuck', of: 'stuck', waiting: 'InvalidImageName' })],
}

const NOTHING: Cluster = { jobs: [], pods: [] }

/** A dead world, or one in which nothing but a stuck Job lives. */
const deadOrStuck = fc.oneof(
  deadWorld(),
  deadWorld().map(world =>
    but(world, { ...together(world, STUCK), settings: { ...world.settings, stuckStart: 'crash' } }),
  ),
)

/** Shows a property of some hundred worlds. */
function holds<W>(t: Test, worlds: fc.Arbitrary<W>, property: (world: W) => boolean | void): void {
  fc.assert(fc.property(worlds, property), { numRuns: 500 })
  t.pass('no counterexample')
}

t.test('the worlds that are tried know every kind of verdict', async t => {
  const kinds = new Set(fc.sample(deadOrStuck, 1000).map(world => decideIn(world).verdict.kind))
  t.strictSame([...kinds].toSorted(), ['cancel', 'crash', 'newAttempt', 'nothing', 'report', 'requeue'])
})

t.test(
  'a run with a live Job or pod is never moved, whatever else is dead, and whatever Prefect says',
  async t => {
    const worlds = fc
      .tuple(deadWorld(), fc.oneof(liveJob, livePod))
      .map(([dead, live]) => but(dead, together(dead, live)))
    holds(t, worlds, world => !moves(world))
  },
)

t.test('a start that is stuck ends no run that has another live Job or pod', async t => {
  const worlds = fc
    .tuple(deadOrStuck, fc.oneof(liveJob, livePod))
    .map(([world, live]) => but(world, together(world, live)))
  holds(t, worlds, world => !moves(world))
})

t.test('what could not be found out never moves a run', async t => {
  const unknowns = fc.constantFrom<Partial<World>>(
    { jobs: UNKNOWN },
    { pods: UNKNOWN },
    { live: { jobs: UNKNOWN } },
    { live: { pods: UNKNOWN } },
    { run: UNKNOWN },
  )
  const refused = { events: [warning('FailedCreate', { kind: 'Job', name: 'stuck', seen: 32 })] }
  const worlds = fc
    .tuple(deadOrStuck, unknowns)
    .map(([world, unknown]) => but<World>(world, { ...refused, ...unknown }))
  holds(t, worlds, world => !moves(world))
})

t.test('what was asked for and could not be found out never moves a run', async t => {
  const silent = { states: UNKNOWN, namedJob: UNKNOWN, heartbeat: UNKNOWN, nodes: UNKNOWN } as const
  holds(t, deadOrStuck, world => {
    const { verdict, asked } = decideIn(but<World>(world, silent))
    return !asked.some(need => Object.hasOwn(silent, need)) || !MOVES.has(verdict.kind)
  })
})

t.test('a run that is final, Scheduled for a worker, or Paused is never moved', async t => {
  const worlds = deadOrStuck.filter(
    ({ run: found }) =>
      isFinal(found.state) ||
      found.state.type === 'PAUSED' ||
      (found.state.type === 'SCHEDULED' && !isInProcessRetry(found)),
  )
  holds(t, worlds, world => !moves(world))
})

t.test('a run that is being cancelled is cancelled or left alone', async t => {
  const cancelling = { ...run(), state: state('Cancelling@20') }
  holds(
    t,
    deadOrStuck,
    world => !['crash', 'newAttempt'].includes(decideIn(but(world, { run: cancelling })).verdict.kind),
  )
})

t.test('where only reports are wanted, nothing is moved', async t => {
  holds(
    t,
    deadOrStuck,
    world => !moves(but(world, { settings: { ...world.settings, failureState: 'report' } })),
  )
})

t.test('once everything is dead, waiting as told leads to an end', async t => {
  holds(t, deadWorld(), world => {
    waitIn(world)
  })
})

t.test(
  'a run that Prefect believes to be Running, and whose own Job is dead, is moved in the end',
  async t => {
    const own = fc
      .integer({ min: -60, max: 30 })
      .map(created => job({ name: 'own', created, failed: 'DeadlineExceeded' }))
    const worlds = fc
      .tuple(deadWorld(['Running', 'Retrying']), own)
      .map(([world, mine]) => but(world, { jobs: [...world.jobs, mine], run: named(world, 'own') }))
    holds(t, worlds, world => MOVES.has(waitIn(world).kind))
  },
)

t.test('forgetting what is gone, as after a restart, leads to the same end', async t => {
  const worlds = deadWorld(['Running', 'Retrying', 'Cancelling']).map(world =>
    but(world, {
      run: named(world, 'etl'),
      settings: { ...world.settings, workPools: ['kubernetes'] },
    }),
  )
  holds(t, worlds, world => {
    const jobs = world.jobs.filter(({ gone }) => !gone)
    const pods = world.pods.filter(({ gone }) => !gone)
    return waitIn(world).kind === waitIn(but(world, { jobs, pods })).kind
  })
})

const named = ({ run: found }: DeadWorld, name: string): DeadWorld['run'] => ({
  ...found,
  infrastructurePid: `team:${name}`,
})

t.test('neither order nor repetition of Jobs and pods matters', async t => {
  const worlds = fc
    .tuple(deadOrStuck, fc.oneof(fc.constant(NOTHING), liveJob, livePod))
    .map(([world, live]) => but(world, together(world, live)))
    .chain(world =>
      fc.record({ world: fc.constant(world), jobs: repeated(world.jobs), pods: repeated(world.pods) }),
    )
  holds(t, worlds, ({ world, jobs, pods }) => {
    t.strictSame(decideIn(but(world, { jobs, pods })).verdict, decideIn(world).verdict)
  })
})

/** Each of them once or twice, in any order. */
const repeated = <T>(facts: readonly T[]): fc.Arbitrary<readonly T[]> =>
  fc
    .tuple(fc.shuffledSubarray([...facts], { minLength: facts.length }), fc.shuffledSubarray([...facts]))
    .map(([all, some]) => some.concat(all))

t.test('facts that were written down and read again give the same decision, at every step', async t => {
  holds(t, deadOrStuck, world => {
    const settings = settingsOf(world)
    for (const facts of [seenIn(world), decideIn(world).facts])
      t.strictSame(decide(writtenAndRead(facts), settings), decide(facts, settings))
  })
})

const writtenAndRead = (facts: Facts): Facts => JSON.parse(JSON.stringify(facts)) as Facts

t.test('a run that dies again and again is not started more often than allowed', async t => {
  const limits = fc.record({
    retries: fc.nat({ max: 9 }),
    maxNewAttempts: fc.nat({ max: 6 }),
    starts: fc.boolean(),
  })
  holds(t, limits, ({ retries, maxNewAttempts, starts }) => {
    const caused = attemptsOf({ retries, maxNewAttempts, starts })
    t.equal(
      caused,
      Math.min(retries, maxNewAttempts),
      `${retries} retries, at most ${maxNewAttempts} new attempts`,
    )
  })
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
    past.push(
      { ...state(`AwaitingRetry@${time + 60}`), message: ATTEMPT_MARK },
      state(`Pending@${time + 90}`),
    )
  }
}

t.test('a Pending run whose newest Job is older than its attempt is never moved', async t => {
  const start = fc.integer({ min: 36, max: 70 })
  const worlds = fc
    .tuple(deadWorld(['Pending']), history, start)
    .map(([world, past, seconds]) =>
      but(world, {
        jobs: world.jobs.slice(0, 1),
        run: { ...world.run, state: state(`Pending@${seconds}`) },
        states: [
          ...past.filter(({ type }) => type === 'RUNNING'),
          ...states('Scheduled@-90', 'Pending@-89', 'AwaitingRetry@35', `Pending@${seconds}`),
        ],
      }),
    )
    .filter(({ jobs }) => jobs.length > 0)
  holds(t, worlds, world => !moves(world))
})

t.test(
  'a run whose state is newer than everything that died is never moved while its heart beats',
  async t => {
    const worlds = deadWorld(['Running', 'Pending', 'Retrying', 'Submitting']).map(world => {
      const newer = { ...world.run.state, timestamp: world.run.state.timestamp + 200_000 }
      return but(world, {
        run: { ...world.run, state: newer },
        heartbeat: world.now - 100,
      })
    })
    holds(t, worlds, world => !moves(world))
  },
)

t.test('a run whose pod nobody saw end is never moved while its heart beats', async t => {
  const unseen = fc.constantFrom(
    pod({ name: 'unseen', of: 'own', gone: 40 }),
    pod({ name: 'unseen', of: 'own', gone: { unseen: 40 } }),
    pod({ name: 'unseen', of: 'own', phase: 'Failed' }),
  )
  const own = job({ name: 'own', created: 31, failed: 'BackoffLimitExceeded' })
  const worlds = fc.tuple(deadWorld(['Running', 'Pending', 'Retrying']), unseen).map(([world, lost]) =>
    but(world, {
      ...together(world, { jobs: [own], pods: [lost] }),
      run: named(world, 'own'),
      heartbeat: world.now - 100,
    }),
  )
  holds(t, worlds, world => !moves(world))
})

t.test(
  'a dead Job that anybody labelled moves no run whose infrastructure_pid names another one',
  async t => {
    holds(
      t,
      deadOrStuck,
      world => !moves(but(world, { run: named(world, 'real'), namedJob: job({ name: 'real' }) })),
    )
  },
)

t.test('every verdict says why, and ends its trail', async t => {
  holds(t, deadOrStuck, world => {
    const { verdict, trail } = decideIn(world)
    return (
      /^[A-Z][A-Za-z]+$/.test(verdict.reason) &&
      trail.rules.at(-1)?.answer === `${verdict.kind} ${verdict.reason}` &&
      trail.rules.slice(0, -1).every(({ answer }) => answer === undefined)
    )
  })
})

t.test('no wait is longer than ten minutes', async t => {
  for (const [grace, wait] of Object.entries(DEFAULT_SETTINGS.graces))
    t.ok(wait > 0 && wait <= 600_000, grace)
})
