import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { createTurns } from '../../src/observer/turns.ts'

const neverAborted = new AbortController().signal

/** Work that ends when it is told to. */
function createWork() {
  const begun: string[] = []
  const gates = new Map<string, PromiseWithResolvers<string>>()
  const gate = (name: string): PromiseWithResolvers<string> => {
    const known = gates.get(name) ?? Promise.withResolvers<string>()
    gates.set(name, known)
    return known
  }
  return {
    begun,
    work: (name: string) => async (): Promise<string> => {
      begun.push(name)
      return gate(name).promise
    },
    end: (name: string) => {
      gate(name).resolve(name)
    },
    fail: (name: string) => {
      gate(name).reject(new Error(name))
    },
  }
}

t.test('so many work at a time, and the others in the order in which they came', async t => {
  const { begun, work, end } = createWork()
  const inTurn = createTurns(2)
  const done = ['a', 'b', 'c', 'd'].map(name => inTurn(work(name), neverAborted))
  end('b')
  await done[1]
  await turn()
  t.strictSame(begun, ['a', 'b', 'c'])
  for (const name of ['a', 'c', 'd']) end(name)
  t.strictSame(await Promise.all(done), ['a', 'b', 'c', 'd'])
})

t.test('work that fails fails for itself, and leaves its turn to the next', async t => {
  const { work, end, fail } = createWork()
  const inTurn = createTurns(1)
  const failing = inTurn(work('a'), neverAborted)
  const next = inTurn(work('b'), neverAborted)
  fail('a')
  await t.rejects(failing, { message: 'a' })
  end('b')
  t.equal(await next, 'b')
})

t.test('whoever is called off while waiting does not begin', async t => {
  const { begun, work, end } = createWork()
  const inTurn = createTurns(1)
  const stop = new AbortController()
  const first = inTurn(work('a'), neverAborted)
  const waiting = inTurn(work('b'), stop.signal)
  const last = inTurn(work('c'), neverAborted)
  stop.abort(new Error('no longer leading'))
  end('a')
  await first
  await t.rejects(waiting, { message: 'no longer leading' })
  end('c')
  await last
  t.strictSame(begun, ['a', 'c'])
})
