import { setImmediate } from 'node:timers/promises'

import t from 'tap'

import { createBatching } from '../../src/batching/batching.ts'
import type { Gathering } from '../../src/batching/batching.ts'

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

const GATHERING: Gathering = {
  aloneMs: 5,
  company: { pauseMs: 50, longestMs: 225, lingerMs: 0 },
  requests: Number.POSITIVE_INFINITY,
}
const IN_BURSTS: Gathering = {
  ...GATHERING,
  burst: { ids: 3, lingerMs: 250, pauseMs: 100, longestMs: 450 },
}
const ONE_BY_ONE: Gathering = { ...GATHERING, requests: 1 }
const LINGERING: Gathering = { ...GATHERING, company: { pauseMs: 500, longestMs: 500, lingerMs: 500 } }

interface Play {
  /** When ids come, in milliseconds. */
  readonly arrivals: readonly number[]
  readonly gathering?: Gathering
  readonly most?: number
  /** How long a request takes. */
  readonly answerMs?: number
}

/** What was asked in how many requests, and when. */
const played = async ({ arrivals, gathering = GATHERING, most = 50, answerMs = 10 }: Play) => {
  const time = createTime()
  const requests: { readonly at: number; readonly ids: readonly string[] }[] = []
  const look = createBatching<string>({
    ask: async ids => {
      requests.push({ at: time.now(), ids })
      await new Promise<void>(resolve => time.after(answerMs, resolve))
      return ids.map(id => `answer to ${id}`)
    },
    most,
    gathering,
    ...time,
  })
  const answers: Promise<string>[] = []
  for (const [n, arrival] of arrivals.entries()) {
    await time.pass(arrival - time.now())
    answers.push(look(String(n)))
  }
  await time.pass(2_000)
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
  'many wait for a longer pause': { arrivals: [0, 1, 2, 80], gathering: IN_BURSTS, at: [180], sizes: [4] },
  'who comes just after many waits for more, also when those are answered': {
    arrivals: [0, 1, 2, 200, 290],
    gathering: IN_BURSTS,
    at: [102, 390],
    sizes: [3, 2],
  },
  'and alone when that was long ago': {
    arrivals: [0, 1, 2, 400],
    gathering: IN_BURSTS,
    at: [102, 405],
    sizes: [3, 1],
  },
  'many that come and come wait for the longest wait of a burst': {
    arrivals: [0, 1, ...steady(40, 20).map(at => at + 2)],
    gathering: IN_BURSTS,
    at: [450, 882],
    sizes: [25, 17],
  },
  'for less long where answers are slow': {
    arrivals: [0, 1, ...steady(40, 20).map(at => at + 2)],
    gathering: IN_BURSTS,
    answerMs: 200,
    at: [450, 712, 882],
    sizes: [25, 13, 4],
  },
  'one request at a time: who comes meanwhile waits for the next': {
    arrivals: [0, 10, 200],
    gathering: ONE_BY_ONE,
    answerMs: 300,
    at: [5, 305],
    sizes: [1, 2],
  },
  'and longer where that has not waited for company yet': {
    arrivals: [0, 290],
    gathering: ONE_BY_ONE,
    answerMs: 300,
    at: [5, 340],
    sizes: [1, 1],
  },
  'one request at a time, but full ones': {
    arrivals: [0, 10, 11, 12],
    gathering: ONE_BY_ONE,
    most: 2,
    answerMs: 300,
    at: [5, 11, 311],
    sizes: [1, 2, 1],
  },
  'whoever asked half a second ago is still company': {
    arrivals: steady(12, 100),
    gathering: LINGERING,
    at: [5, 600, 1_100, 1_600],
    sizes: [1, 5, 5, 1],
  },
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
    gathering: ONE_BY_ONE,
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
