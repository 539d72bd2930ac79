import pino from 'pino'
import { Registry } from 'prom-client'
import t from 'tap'

import type { FlowRun, State } from '../../src/core/flow-run.ts'
import { createObserverMetrics } from '../../src/observer/metrics.ts'
import { createOrphanScan } from '../../src/observer/orphans.ts'
import { createTestClock } from './test-clock.ts'

const START = Date.UTC(2026, 0, 1)
const YOUNG_MS = 120_000

type Difference = Partial<Omit<FlowRun, 'state'>> & { readonly state?: Partial<State> }

/** A subflow run that a worker started an hour ago. */
const flowRun = ({ state, ...difference }: Difference = {}): FlowRun => ({
  id: 'run',
  name: 'quick-fox',
  parentTaskRunId: 'task-run',
  deploymentId: 'deployment',
  workPoolName: 'ours',
  infrastructurePid: 'team:job',
  runCount: 1,
  state: { id: 'state', type: 'RUNNING', name: 'Running', timestamp: START - 3_600_000, ...state },
  ...difference,
})

/** The run without a field: absent is not undefined. */
function without(run: FlowRun, ...names: readonly (keyof FlowRun)[]): FlowRun {
  const copy: Record<string, unknown> = { ...run }
  for (const name of names) delete copy[name]
  return copy as unknown as FlowRun
}

interface Options {
  runs: readonly FlowRun[]
  known?: ReadonlySet<string>
  random?: number
}

function start({ runs, known = new Set(), random = 0.5 }: Options) {
  const time = createTestClock(START)
  const registry = new Registry()
  const lines: Record<string, unknown>[] = []
  const enqueued: string[] = []
  const world = { runs, known, scans: 0, error: undefined as Error | undefined, gate: Promise.resolve() }
  const scan = createOrphanScan({
    liveSubflowRuns: async function* ({ limit }, signal) {
      world.scans += 1
      await world.gate
      if (world.error) throw world.error
      for (const run of world.runs.slice(0, limit)) {
        signal.throwIfAborted()
        yield run
      }
    },
    isKnown: flowRunId => world.known.has(flowRunId),
    enqueue: flowRunId => enqueued.push(flowRunId),
    workPools: ['ours', 'quiet'],
    youngMs: YOUNG_MS,
    everyMs: 300_000,
    logger: pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    metrics: createObserverMetrics(registry),
    clock: { ...time.clock, random: () => random },
  })
  const values = async (name: string, label: string): Promise<Record<string, number>> => {
    const metric = (await registry.getSingleMetric(name)?.get()) ?? { values: [] }
    return Object.fromEntries(metric.values.map(({ labels, value }) => [labels[label] ?? '', value]))
  }
  return {
    ...time,
    ...scan,
    world,
    enqueued,
    lines,
    gauge: () => values('lifeguard_orphans', 'work_pool'),
    scans: () => values('lifeguard_orphan_scans_total', 'result'),
  }
}

const { signal } = new AbortController()
const AWAITING_RETRY = { type: 'SCHEDULED', name: 'AwaitingRetry' } as const

t.test('an orphan is', async t => {
  const orphans: Record<string, FlowRun> = {
    'a Running run that nothing of is here': flowRun(),
    'a Pending run whose Job never came': flowRun({ state: { type: 'PENDING', name: 'Pending' } }),
    'a Cancelling run': flowRun({ state: { type: 'CANCELLING', name: 'Cancelling' } }),
    'a run that its process wanted to retry': flowRun({ state: AWAITING_RETRY, retryType: 'in_process' }),
    'a run of a deployment whose infrastructure is not told yet': without(flowRun(), 'infrastructurePid'),
    'a run with infrastructure and without a deployment': without(flowRun(), 'deploymentId'),
    'a run that is just old enough': flowRun({ state: { timestamp: START - YOUNG_MS } }),
  }
  for (const [what, run] of Object.entries(orphans))
    t.test(what, async t => {
      const { scan, enqueued } = start({ runs: [run] })
      t.equal(await scan(signal), 1)
      t.strictSame(enqueued, ['run'])
    })
})

t.test('no orphan is', async t => {
  const others: Record<string, Options> = {
    'a run with a Job or pod here': { runs: [flowRun()], known: new Set(['run']) },
    "a subflow in its parent's process": {
      runs: [without(flowRun(), 'infrastructurePid', 'deploymentId', 'workPoolName')],
    },
    'a run whose next attempt a worker will make': {
      runs: [flowRun({ state: AWAITING_RETRY, retryType: 'reschedule' })],
    },
    'a run that awaits its retry, by whomever': { runs: [flowRun({ state: AWAITING_RETRY })] },
    'a run whose Job may come in a moment': {
      runs: [flowRun({ state: { type: 'PENDING', name: 'Pending', timestamp: START - YOUNG_MS + 1 } })],
    },
    'a run from a server whose clock is ahead': { runs: [flowRun({ state: { timestamp: START + 60_000 } })] },
  }
  for (const [what, options] of Object.entries(others))
    t.test(what, async t => {
      const { scan, enqueued, lines } = start(options)
      t.equal(await scan(signal), 0)
      t.strictSame([enqueued, lines], [[], []])
    })
})

t.test('a scan', async t => {
  t.test('counts orphans by work pool, and forgets them when they are none any more', async t => {
    const { scan, world, gauge, scans } = start({
      runs: [
        flowRun({ id: 'a' }),
        flowRun({ id: 'b' }),
        flowRun({ id: 'c', workPoolName: 'theirs' }),
        without(flowRun({ id: 'd' }), 'workPoolName'),
        flowRun({ id: 'known' }),
      ],
      known: new Set(['known']),
    })
    t.equal(await scan(signal), 4)
    t.strictSame(await gauge(), { ours: 2, quiet: 0, theirs: 1, '': 1 })
    world.runs = [flowRun({ id: 'b' })]
    await scan(signal)
    t.strictSame(await gauge(), { ours: 1, quiet: 0 })
    t.strictSame(await scans(), { complete: 2 })
  })

  t.test('tells of an orphan once', async t => {
    const { scan, lines } = start({
      runs: [flowRun({ id: 'a' }), flowRun({ id: 'b', workPoolName: 'theirs' })],
    })
    await scan(signal)
    await scan(signal)
    t.match(lines, [
      { level: 30, flowRunId: 'a', workPool: 'ours', state: 'Running' },
      { level: 30, flowRunId: 'b', workPool: 'theirs' },
    ])
    t.equal(lines.length, 2)
  })

  t.test('has the rules look at ours each time, at others once per state', async t => {
    const theirs = flowRun({ id: 'theirs', workPoolName: 'theirs' })
    const nobodys = without(flowRun({ id: 'nobodys' }), 'workPoolName')
    const { scan, world, enqueued } = start({ runs: [flowRun({ id: 'ours' }), theirs, nobodys] })
    await scan(signal)
    await scan(signal)
    t.strictSame(enqueued, ['ours', 'theirs', 'nobodys', 'ours'])
    world.runs = [{ ...theirs, state: { ...theirs.state, id: 'another' } }]
    await scan(signal)
    t.equal(enqueued.at(-1), 'theirs')
    t.equal(enqueued.length, 5)
  })

  t.test('of more runs than it may look at says that it is not complete', async t => {
    const runs = Array.from({ length: 10_001 }, (_, n) => flowRun({ id: String(n) }))
    const { scan, scans, lines } = start({ runs, known: new Set(runs.map(({ id }) => id)) })
    t.equal(await scan(signal), 0)
    t.strictSame(await scans(), { truncated: 1 })
    t.match(lines, [{ level: 40, limit: 10_000 }])
  })

  t.test('that is called off ends between two runs and counts nothing', async t => {
    const stopping = new AbortController()
    const runs = [flowRun({ id: 'a' }), flowRun({ id: 'b' })]
    const time = createTestClock(START)
    const registry = new Registry()
    const { scan } = createOrphanScan({
      // An iterable that takes no notice of the signal.
      liveSubflowRuns: async function* () {
        yield* runs
      },
      isKnown: () => (stopping.abort(new Error('stop')), false),
      enqueue: () => {},
      workPools: [],
      youngMs: 0,
      everyMs: 300_000,
      logger: pino({ level: 'silent' }),
      metrics: createObserverMetrics(registry),
      clock: time.clock,
    })
    await t.rejects(scan(stopping.signal), { message: 'stop' })
    t.notMatch(await registry.metrics(), 'result="complete"')
  })
})

t.test('run', async t => {
  for (const [random, everyMs] of [
    [0, 240_000],
    [0.5, 300_000],
    [0.75, 330_000],
  ] as const)
    t.test(`scans at once and then every ${everyMs / 1000} s, as chance has it`, async t => {
      const { run, advance, world } = start({ runs: [], random })
      void run(signal)
      await advance(0)
      t.equal(world.scans, 1)
      await advance(everyMs - 1)
      t.equal(world.scans, 1)
      await advance(1)
      t.equal(world.scans, 2)
      await advance(9 * everyMs)
      t.equal(world.scans, 11)
    })

  t.test('goes on after a scan that failed, tells of it, and keeps the last count', async t => {
    const { run, advance, world, lines, scans, gauge } = start({ runs: [flowRun()] })
    void run(signal)
    await advance(0)
    world.error = new Error('Prefect is down')
    await advance(360_000)
    t.match(lines.at(-1), { level: 40, err: { message: 'Prefect is down' } })
    t.match(await scans(), { complete: 1, failed: 1 })
    t.match(await gauge(), { ours: 1 })
    world.error = undefined
    await advance(360_000)
    t.match(await scans(), { failed: 1, complete: 2 })
  })

  t.test('stops while it waits', async t => {
    const { run, advance, timers } = start({ runs: [] })
    const stopping = new AbortController()
    const ended = run(stopping.signal)
    await advance(0)
    stopping.abort()
    await ended
    t.equal(timers(), 0)
  })

  t.test('stops in the middle of a scan, which has not failed', async t => {
    const { run, settle, world, lines, scans, timers } = start({ runs: [] })
    const { promise, reject } = Promise.withResolvers<void>()
    world.gate = promise
    const stopping = new AbortController()
    const ended = run(stopping.signal)
    await settle()
    stopping.abort(new Error('stop'))
    reject(stopping.signal.reason)
    await ended
    t.strictSame([lines, await scans(), timers()], [[], {}, 0])
  })

  t.test('that was called off before does nothing', async t => {
    const { run, world } = start({ runs: [] })
    await run(AbortSignal.abort())
    t.equal(world.scans, 0)
  })
})
