import t from 'tap'

import { systemClock, type Clock } from '../../src/kubernetes/clock.ts'
import type { LeaseRecord, LeaseStore, StoredLease } from '../../src/kubernetes/lease/lease.ts'
import {
  createLeadership,
  type Leadership,
  type LeadershipOptions,
} from '../../src/kubernetes/lease/leadership.ts'
import { eventually } from '../cluster/api.ts'

/**
 * Clocks that jump and stand still, and an API that hangs at a chosen moment, cannot be had from a real cluster; two
 * and three contenders on a real apiserver are in test/integration/kubernetes-leadership.test.ts. The store here has
 * the one property the contest rests on, optimistic locking, and no other of an apiserver.
 */
interface World {
  readonly store: LeaseStore
  readonly lease: () => LeaseRecord | undefined
  /** What the API does to the next requests. */
  trouble: 'none' | 'fails' | 'hangs'
}

function createWorld(): World {
  let stored: StoredLease | undefined
  let version = 0
  const write = (record: LeaseRecord): StoredLease => {
    version += 1
    stored = { metadata: { resourceVersion: String(version) }, record }
    return stored
  }
  const trouble = async (signal: AbortSignal): Promise<void> => {
    if (world.trouble === 'fails') throw new Error('the API is down')
    if (world.trouble === 'hangs') {
      await new Promise((_, reject) =>
        signal.addEventListener('abort', () => reject(new Error('too late')), { once: true }),
      )
    }
  }
  const world: World = {
    trouble: 'none',
    lease: () => stored?.record,
    store: {
      read: async signal => {
        await trouble(signal)
        return stored
      },
      create: async (record, signal) => {
        await trouble(signal)
        return stored ? undefined : write(record)
      },
      replace: async (record, old, signal) => {
        await trouble(signal)
        return stored?.metadata['resourceVersion'] === old.metadata['resourceVersion']
          ? write(record)
          : undefined
      },
    },
  }
  return world
}

interface HandClock extends Clock {
  /** Time passes: everybody's waits that are due end. */
  readonly pass: (ms: number) => Promise<void>
  /** The wall clock alone is set. */
  readonly setWall: (ms: number) => void
  /** The VM sleeps: the wall clock goes on, the monotonic one stands still. */
  readonly suspend: (ms: number) => void
}

function createHandClock(): HandClock {
  let monotonic = 1000
  let wall = Date.UTC(2026, 0, 1)
  const sleepers = new Set<{ readonly due: number; readonly wake: () => void }>()
  return {
    now: () => wall,
    monotonic: () => monotonic,
    random: () => 0,
    turn: systemClock.turn,
    setWall: ms => {
      wall += ms
    },
    suspend: ms => {
      wall += ms
    },
    sleep: async (ms, signal) => {
      signal.throwIfAborted()
      await new Promise<void>((resolve, reject) => {
        const sleeper = { due: monotonic + ms, wake: resolve }
        sleepers.add(sleeper)
        signal.addEventListener('abort', () => reject(new Error('called off')), { once: true })
      })
    },
    pass: async ms => {
      for (let passed = 0; passed < ms; passed += 500) {
        monotonic += 500
        wall += 500
        for (const sleeper of [...sleepers].filter(({ due }) => due <= monotonic)) {
          sleepers.delete(sleeper)
          sleeper.wake()
        }
        await new Promise(resolve => setTimeout(resolve, 1))
      }
    },
  }
}

interface Contender extends AsyncDisposable {
  readonly leadership: Leadership
  readonly told: string[]
  readonly stop: () => Promise<void>
}

function contend(
  world: World,
  clock: Clock,
  options: Partial<LeadershipOptions> & { identity: string },
): Contender {
  const controller = new AbortController()
  const told: string[] = []
  const leadership = createLeadership({
    access: { request: () => t.fail('all goes by the store') as never },
    namespace: 'default',
    name: 'lifeguard',
    store: world.store,
    clock,
    onStartedLeading: async signal => {
      told.push('started')
      await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
      told.push('work ended')
    },
    onStoppedLeading: () => told.push('stopped'),
    onNewLeader: identity => told.push(`leader ${identity}`),
    ...options,
  })
  const running = leadership.run(controller.signal)
  const stop = async (): Promise<void> => {
    controller.abort(new Error('the process stops'))
    await running
  }
  return { leadership, told, stop, [Symbol.asyncDispose]: stop }
}

const until = async (holds: () => boolean, what: string): Promise<void> => {
  await eventually(async () => holds(), { until: held => held, what, timeoutMs: 10_000 })
}

t.test(
  'the first to come leads; the other takes over when the lease has not changed for its duration',
  async t => {
    const world = createWorld()
    const [clockA, clockB] = [createHandClock(), createHandClock()]
    await using a = contend(world, clockA, { identity: 'a' })
    await until(a.leadership.isLeader, 'a to lead')
    await using b = contend(world, clockB, { identity: 'b' })
    await until(() => b.told.includes('leader a'), 'b to see it')
    // As long as a renews, b waits, however long.
    for (let round = 0; round < 20; round += 1) {
      await clockA.pass(2_000)
      await clockB.pass(2_000)
    }
    t.ok(a.leadership.isLeader())
    t.notOk(b.leadership.isLeader())
    t.equal(world.lease()?.transitions, 0)
    // a stands still: it neither renews nor knows it.
    await clockB.pass(14_000)
    t.notOk(b.leadership.isLeader(), 'not before the duration is over')
    await clockB.pass(4_000)
    t.ok(b.leadership.isLeader())
    t.equal(world.lease()?.transitions, 1)
    t.match(world.lease(), { holder: 'b', durationSeconds: 15 })
  },
)

t.test('a leader that cannot renew stops before others may start, and contends again', async t => {
  const world = createWorld()
  const clock = createHandClock()
  const reports: string[] = []
  await using a = contend(world, clock, { identity: 'a', report: ({ what }) => reports.push(what) })
  await until(a.leadership.isLeader, 'a to lead')
  world.trouble = 'fails'
  await clock.pass(9_000)
  t.ok(a.leadership.isLeader())
  await clock.pass(3_000)
  t.notOk(a.leadership.isLeader())
  await until(() => a.told.includes('stopped') && a.told.includes('work ended'), 'the end of the work')
  t.ok(reports.includes('the lease default/lifeguard could not be read or written'))
  world.trouble = 'none'
  await clock.pass(4_000)
  t.ok(a.leadership.isLeader())
  t.equal(a.told.filter(word => word === 'started').length, 2)
})

t.test('one who sleeps is no leader when it wakes, whichever clock slept', async t => {
  const jumps: Record<string, (clock: HandClock) => void> = {
    'the VM was suspended': clock => clock.suspend(60_000),
    'the wall clock was set forward': clock => clock.setWall(3_600_000),
  }
  for (const [what, jump] of Object.entries(jumps)) {
    const world = createWorld()
    const clock = createHandClock()
    await using a = contend(world, clock, { identity: 'a' })
    await until(a.leadership.isLeader, 'a to lead')
    jump(clock)
    t.notOk(a.leadership.isLeader(), what)
    await clock.pass(6_000)
    t.ok(a.leadership.isLeader(), 'and contends again')
  }
})

t.test('a wall clock that is set back prolongs nothing', async t => {
  const world = createWorld()
  const clock = createHandClock()
  await using a = contend(world, clock, { identity: 'a' })
  await until(a.leadership.isLeader, 'a to lead')
  clock.setWall(-3_600_000)
  world.trouble = 'fails'
  await clock.pass(12_000)
  t.notOk(a.leadership.isLeader())
})

t.test('another’s wall clock says nothing: a lease counts from when its change was seen', async t => {
  const world = createWorld()
  const ancient = {
    holder: 'z',
    durationSeconds: 15,
    acquireTime: '1990-01-01T00:00:00.000000Z',
    renewTime: '1990-01-01T00:00:00.000000Z',
    transitions: 3,
  }
  await world.store.create(ancient, AbortSignal.timeout(1000))
  const clock = createHandClock()
  await using a = contend(world, clock, { identity: 'a' })
  await clock.pass(13_000)
  t.notOk(a.leadership.isLeader(), 'though its time of renewal is long over')
  await clock.pass(5_000)
  t.ok(a.leadership.isLeader())
  t.equal(world.lease()?.transitions, 4)
})

t.test('a lease that others annotate stays ours', async t => {
  const world = createWorld()
  const clock = createHandClock()
  await using a = contend(world, clock, { identity: 'a' })
  await until(a.leadership.isLeader, 'a to lead')
  const stored = await world.store.read(AbortSignal.timeout(1000))
  if (stored) await world.store.replace(stored.record, stored, AbortSignal.timeout(1000))
  await clock.pass(3_000)
  t.ok(a.leadership.isLeader())
  t.strictSame(a.told, ['leader a', 'started'])
})

t.test('a lease that others took is lost at once', async t => {
  const world = createWorld()
  const clock = createHandClock()
  await using a = contend(world, clock, { identity: 'a' })
  await until(a.leadership.isLeader, 'a to lead')
  const stored = await world.store.read(AbortSignal.timeout(1000))
  if (stored)
    await world.store.replace({ ...stored.record, holder: 'thief' }, stored, AbortSignal.timeout(1000))
  await clock.pass(3_000)
  t.notOk(a.leadership.isLeader())
  t.strictSame(a.told, ['leader a', 'started', 'leader thief', 'stopped', 'work ended'])
})

t.test('after a loss the old work ends before a new term begins', async t => {
  const world = createWorld()
  const clock = createHandClock()
  const terms: PromiseWithResolvers<void>[] = []
  const a = contend(world, clock, {
    identity: 'a',
    onStartedLeading: async () => {
      const term = Promise.withResolvers<void>()
      terms.push(term)
      await term.promise
    },
  })
  await until(a.leadership.isLeader, 'a to lead')
  world.trouble = 'fails'
  await clock.pass(12_000)
  world.trouble = 'none'
  await clock.pass(20_000)
  t.equal(terms.length, 1)
  t.notOk(a.leadership.isLeader())
  terms[0]?.resolve()
  await until(() => terms.length === 2, 'the next term')
  terms[1]?.resolve()
  await a.stop()
})

t.test('on stopping, the work ends first, the lease is kept meanwhile, and released then', async t => {
  const world = createWorld()
  const clock = createHandClock()
  const work = Promise.withResolvers<void>()
  const a = contend(world, clock, { identity: 'a', onStartedLeading: async () => work.promise })
  await until(a.leadership.isLeader, 'a to lead')
  const stopping = a.stop()
  await clock.pass(30_000)
  t.equal(world.lease()?.holder, 'a', 'renewed for as long as the work takes')
  t.ok(a.leadership.isLeader(), 'so that its last write may still be made')
  work.resolve()
  await stopping
  t.equal(world.lease()?.holder, '')
  t.equal(world.lease()?.durationSeconds, 1)
  const b = contend(world, clock, { identity: 'b' })
  await until(b.leadership.isLeader, 'b to lead without a wait')
  await b.stop()
})

t.test(
  'work that fails, or ends by itself, does not end the leadership; a lease that cannot be released runs out',
  async t => {
    const world = createWorld()
    const clock = createHandClock()
    const reports: string[] = []
    const a = contend(world, clock, {
      identity: 'a',
      report: ({ what }) => reports.push(what),
      onStartedLeading: async () => {
        throw new Error('a mistake')
      },
    })
    await until(() => reports.includes('the work of the leader failed'), 'the report')
    await clock.pass(4_000)
    t.ok(a.leadership.isLeader())
    world.trouble = 'fails'
    await a.stop()
    t.match(reports.at(-1), /could not be released; it will run out/)
    t.equal(world.lease()?.holder, 'a')
  },
)

t.test('of two who come at once, one leads', async t => {
  const world = createWorld()
  const clock = createHandClock()
  await using a = contend(world, clock, { identity: 'a' })
  await using b = contend(world, clock, { identity: 'b' })
  await until(() => a.leadership.isLeader() || b.leadership.isLeader(), 'a leader')
  await clock.pass(4_000)
  t.not(a.leadership.isLeader(), b.leadership.isLeader())
})

t.test('a request that hangs is given up in time for another', async t => {
  const world = createWorld()
  const clock = createHandClock()
  const timings = { leaseDurationMs: 1_000, renewDeadlineMs: 200, retryPeriodMs: 50 }
  world.trouble = 'hangs'
  const reports: string[] = []
  await using a = contend(world, clock, {
    identity: 'a',
    timings,
    report: ({ error }) => reports.push(String(error)),
  })
  await until(() => reports.length > 0, 'the report')
  t.match(reports[0], /too late/)
  world.trouble = 'none'
  await clock.pass(1_000)
  await until(a.leadership.isLeader, 'a to lead')
})
