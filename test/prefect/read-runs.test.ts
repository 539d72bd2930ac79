import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { FlowRun } from '../../src/core/flow-run.ts'
import { createReadRuns } from '../../src/prefect/read-runs.ts'
import { run } from '../core/build/runs.ts'

const { signal } = new AbortController()

/** Every run is there but those that are said to be missing; a poisoned row spoils each answer that it is in. */
function createPrefect({ missing = [], poisoned = [], down = false }: Prefect = {}) {
  const requests: (string | readonly string[])[] = []
  const rowOf = (id: string): FlowRun | undefined => {
    if (down) throw new Error('503')
    if (poisoned.includes(id)) throw new TypeError(`flow run ${id} makes no sense`)
    return missing.includes(id) ? undefined : { ...run(), id }
  }
  const read = createReadRuns({
    one: async id => {
      requests.push(id)
      await turn()
      return rowOf(id)
    },
    many: async ids => {
      requests.push(ids)
      await turn()
      const rows = ids.map(rowOf).filter(row => row !== undefined)
      return new Map(rows.map(row => [row.id, row]))
    },
  })
  return { read: (id: string) => read(id, signal), requests, readWith: read }
}

interface Prefect {
  readonly missing?: readonly string[]
  readonly poisoned?: readonly string[]
  readonly down?: boolean
}

const names = (count: number): string[] => Array.from({ length: count }, (_, n) => `run-${n}`)

t.test('runs asked for within a moment are read together, 50 in a request', async t => {
  const { read, requests } = createPrefect()
  const runs = await Promise.all(names(120).map(read))
  t.strictSame(
    runs.map(found => found?.id),
    names(120),
  )
  t.strictSame(
    requests.map(({ length }) => length),
    [50, 50, 20],
  )
})

t.test('what is asked for while a read is under way is read by the next one', async t => {
  const gate = Promise.withResolvers<void>()
  const requests: (readonly string[])[] = []
  const read = createReadRuns({
    one: async id => ({ ...run(), id }),
    many: async ids => {
      requests.push(ids)
      await gate.promise
      return new Map(ids.map(id => [id, { ...run(), id }]))
    },
  })
  const first = ['a', 'b'].map(id => read(id, signal))
  while (requests.length === 0) await turn()
  const later = [read('c', signal)]
  // Whoever came later, elsewhere, has waited long enough for company; so has this one.
  await createPrefect().read('x')
  later.push(read('d', signal))
  t.strictSame(requests, [['a', 'b']])
  gate.resolve()
  await Promise.all([...first, ...later])
  t.strictSame(requests, [
    ['a', 'b'],
    ['c', 'd'],
  ])
})

t.test('one run is read by itself', async t => {
  const { read, requests } = createPrefect()
  t.equal((await read('a'))?.id, 'a')
  t.strictSame(requests, ['a'])
})

t.test('a run asked for twice at once is read once, and again the next time: nothing is cached', async t => {
  const { read, requests } = createPrefect()
  const [one, two] = await Promise.all([read('a'), read('a'), read('b')])
  t.equal(one, two)
  t.strictSame(requests, [['a', 'b']])
  await read('a')
  t.equal(requests.length, 2)
})

t.test('a run that does not exist is undefined, alone and among others', async t => {
  const { read } = createPrefect({ missing: ['b'] })
  t.equal(await read('b'), undefined)
  const [a, b] = await Promise.all([read('a'), read('b')])
  t.strictSame([a?.id, b], ['a', undefined])
})

t.test('a row that makes no sense fails alone', async t => {
  const { read } = createPrefect({ poisoned: ['b'] })
  const [a, b, c] = await Promise.allSettled(['a', 'b', 'c'].map(read))
  t.match([a, c], [{ value: { id: 'a' } }, { value: { id: 'c' } }])
  t.match(b, { reason: { name: 'TypeError', message: 'flow run b makes no sense' } })
})

t.test('a Prefect that is down fails all of them, with one request', async t => {
  const { read, requests } = createPrefect({ down: true })
  const results = await Promise.allSettled(names(10).map(read))
  t.ok(results.every(({ status }) => status === 'rejected'))
  t.equal(requests.length, 1)
})

t.test('whoever gives up is let go at once, and the others get their answer', async t => {
  const gate = Promise.withResolvers<void>()
  const read = createReadRuns({
    one: async () => undefined,
    many: async ids => {
      await gate.promise
      return new Map(ids.map(id => [id, { ...run(), id }]))
    },
  })
  const impatient = new AbortController()
  const given = read('a', impatient.signal)
  const other = read('b', signal)
  impatient.abort(new Error('no longer leading'))
  await t.rejects(given, { message: 'no longer leading' })
  gate.resolve()
  t.equal((await other)?.id, 'b')
  await t.rejects(read('a', impatient.signal), { message: 'no longer leading' }, 'nor is it waited for later')
})
