import { setImmediate } from 'node:timers/promises'
import t from 'tap'

import { systemClock } from '../../src/kubernetes/clock.ts'
import { createFeed, type Feed } from '../../src/kubernetes/watch/feed.ts'
import { parseMeta, type Meta } from '../../src/kubernetes/parse/metadata.ts'
import { inSlices, SLICE } from '../../src/kubernetes/watch/slices.ts'
import { createStore, type Change } from '../../src/kubernetes/watch/store.ts'
import { jobJson } from './objects.ts'

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, number) => number)

/** Whatever else wants the event loop, counted: it gets it once in each turn. */
function startNeighbour(): { readonly served: () => number; readonly stop: () => Promise<void> } {
  let served = 0
  const stop = new AbortController()
  const working = (async () => {
    while (!stop.signal.aborted) {
      await setImmediate()
      served += 1
    }
  })()
  return {
    served: () => served,
    stop: async () => {
      stop.abort()
      await working
    },
  }
}

t.test('everything is handled, in order, and others have their turn before each slice', async t => {
  const neighbour = startNeighbour()
  const handled: number[] = []
  const servedAt = new Set<number>()
  const handle = (number: number): void => {
    handled.push(number)
    if (number % SLICE === 0) servedAt.add(neighbour.served())
    else t.ok(servedAt.has(neighbour.served()), 'nobody is served within a slice')
  }
  const { signal } = new AbortController()
  await inSlices(numbers(3 * SLICE + 1), handle, { clock: systemClock, signal })
  await neighbour.stop()
  t.strictSame(handled, numbers(3 * SLICE + 1))
  t.equal(servedAt.size, 4, 'four slices, and somebody was served between any two')
})

t.test('nothing is handled once it was called off', async t => {
  const stop = new AbortController()
  const handled: number[] = []
  const handle = (number: number): void => {
    handled.push(number)
    if (number === 10) stop.abort(new Error('enough'))
  }
  await t.rejects(inSlices(numbers(2 * SLICE), handle, { clock: systemClock, signal: stop.signal }), {
    message: 'enough',
  })
  t.equal(handled.length, SLICE, 'the slice under way is finished, and no other begun')
})

interface Crowd {
  readonly feed: Feed
  readonly changes: Change<Meta>[]
  readonly turns: () => number
}

function createCrowd({ signal } = new AbortController()): Crowd {
  const changes: Change<Meta>[] = []
  let turns = 0
  const feed = createFeed<Meta>({
    store: createStore(() => undefined),
    parse: parseMeta,
    onChange: change => changes.push(change),
    report: () => {},
    metrics: { failed: () => {} },
    clock: {
      now: Date.now,
      turn: async () => {
        turns += 1
        await setImmediate()
      },
    },
    signal,
  })
  return { feed, changes, turns: () => turns }
}

async function list({ feed }: Crowd, names: readonly number[]): Promise<void> {
  const listing = feed.list()
  await listing.add(names.map(name => jobJson({ name: `job-${name}` })))
  await listing.commit('10')
}

t.test(
  'a long list gives way while it is read, while it is told, and while what has gone is told',
  async t => {
    const crowd = createCrowd()
    await list(crowd, numbers(10 * SLICE))
    t.equal(crowd.changes.length, 10 * SLICE)
    t.equal(crowd.turns(), 10 + 10 + 10, 'to be read, to be told of, and to be looked for')
    await list(crowd, [])
    t.equal(crowd.turns(), 30 + 10, 'and where all have gone, as they go')
    t.ok(crowd.changes.slice(10 * SLICE).every(({ type }) => type === 'deleted'))
  },
)

t.test(
  'objects that have not changed take turns, too: there may be thousands between two changes',
  async t => {
    const crowd = createCrowd()
    await list(crowd, numbers(4 * SLICE))
    const before = crowd.turns()
    await list(crowd, numbers(4 * SLICE))
    t.equal(crowd.changes.length, 4 * SLICE, 'no change')
    t.equal(crowd.turns() - before, 12)
  },
)

t.test('stopped in the middle of a long list, nothing more is told', async t => {
  const stop = new AbortController()
  const crowd = createCrowd(stop)
  const listing = crowd.feed.list()
  await listing.add(numbers(4 * SLICE).map(name => jobJson({ name: `job-${name}` })))
  const committed = listing.commit('10')
  while (crowd.changes.length === 0) await setImmediate()
  stop.abort(new Error('stopped'))
  const told = crowd.changes.length
  await t.rejects(committed, { message: 'stopped' })
  t.equal(crowd.changes.length, told)
})
