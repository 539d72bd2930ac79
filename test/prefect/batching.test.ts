import { setImmediate } from 'node:timers/promises'

import t from 'tap'

import { createBatching } from '../../src/prefect/batching.ts'

/** Time that passes on demand, with the timers that are due. */
const createTime = () => {
  let at = 0
  const timers = new Map<symbol, { readonly due: number; readonly act: () => void }>()
  return {
    now: () => at,
    after: (ms: number, act: () => void) => {
      const timer = Symbol('timer')
      timers.set(timer, { due: at + ms, act })
      return () => void timers.delete(timer)
    },
    pass: async (ms: number) => {
      const end = at + ms
      for (;;) {
        // What a timer set going comes to its end, or to its next timer.
        await setImmediate()
        const [next] = [...timers].toSorted(([, a], [, b]) => a.due - b.due)
        if (next === undefined || next[1].due > end) break
        timers.delete(next[0])
        at = next[1].due
        next[1].act()
      }
      at = end
    },
    timers: () => timers.size,
  }
}

interface Play {
  /** When ids come, in milliseconds. */
  readonly arrivals: readonly number[]
  readonly most?: number
  /** How long a request takes. */
  readonly answerMs?: number
}

/** What was asked in how many requests, and when. */
const played = async ({ arrivals, most = 50, answerMs = 10 }: Play) => {
  const time = createTime()
  const requests: { readonly at: number; readonly ids: readonly string[] }[] = []
  const look = createBatching<string>({
    ask: async ids => {
      requests.push({ at: time.now(), ids })
      await new Promise<void>(resolve => time.after(answerMs, resolve))
      return ids.map(id => `answer to ${id}`)
    },
    most,
    ...time,
  })
  const answers: Promise<string>[] = []
  for (const [n, arrival] of arrivals.entries()) {
    await time.pass(arrival - time.now())
    answers.push(look(String(n)))
  }
  await time.pass(1_000)
  return { requests, answers: await Promise.all(answers), timersLeft: time.timers() }
}

const steady = (count: number, everyMs: number) => Array.from({ length: count }, (_, n) => n * everyMs)

const cases: Readonly<Record<string, Play & { at: readonly number[]; sizes: readonly number[] }>> = {
  'one alone waits 5 ms': { arrivals: [0], at: [5], sizes: [1] },
  'one after the other, each waits 5 ms': { arrivals: [0, 20, 40], at: [5, 25, 45], sizes: [1, 1, 1] },
  'two that come together wait for a pause': { arrivals: [0, 2], at: [52], sizes: [2] },
  'who comes while another is being answered waits for more': {
    arrivals: [0, 8, 30],
    at: [5, 80],
    sizes: [1, 2],
  },
  'a steady stream waits for a quarter of what admission has': {
    arrivals: steady(40, 10),
    answerMs: 20,
    at: [5, 235, 430 + 10],
    sizes: [1, 23, 16],
  },
  'a full batch goes at once': { arrivals: [0, 1, 2, 3], most: 2, at: [1, 3], sizes: [2, 2] },
}

for (const [sentence, { at, sizes, ...play }] of Object.entries(cases)) {
  t.test(sentence, async t => {
    const { requests, answers, timersLeft } = await played(play)
    t.same(
      answers,
      play.arrivals.map((_, n) => `answer to ${n}`),
      'everybody has the own answer',
    )
    t.equal(timersLeft, 0)
    t.same(
      requests.map(({ at }) => at),
      at,
    )
    t.same(
      requests.map(({ ids }) => ids.length),
      sizes,
    )
  })
}

t.test('1,000 at 200 a second take 24 requests', async t => {
  const { requests } = await played({ arrivals: steady(1_000, 5) })
  t.equal(requests.length, 24)
})

t.test('all whose request failed are told, and the next ask anew', async t => {
  const time = createTime()
  let isDown = true
  const look = createBatching({
    ask: async ids => {
      if (isDown) throw new Error('Prefect is down')
      return ids
    },
    most: 50,
    ...time,
  })
  const failing = ['a', 'b'].map(id => t.rejects(look(id), { message: 'Prefect is down' }))
  await time.pass(1_000)
  await Promise.all(failing)
  isDown = false
  const answer = look('c')
  await time.pass(1_000)
  t.equal(await answer, 'c')
})
