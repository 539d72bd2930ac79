import t from 'tap'
import { whenAnswered } from './settled.ts'

/** Crashed when they have been looked at so often, in this order; others never. */
const proxyOf = (looks: Readonly<Record<string, number>>, lastRequestAt: () => number) => {
  const seen = new Map<string, number>()
  return {
    crashedAt: (flowRunId: string) => {
      const times = (seen.get(flowRunId) ?? 0) + 1
      seen.set(flowRunId, times)
      return times >= (looks[flowRunId] ?? Number.POSITIVE_INFINITY) ? 1 : undefined
    },
    lastRequestAt,
  }
}

const runs = ['a', 'b'].map(flowRunId => ({ flowRunId }))

t.test('who still asks Prefect is waited for until the last death is answered', async t => {
  t.equal(await whenAnswered(runs, proxyOf({ a: 1, b: 3 }, Date.now), 10), 0)
})

t.test('who asks Prefect no more is not waited for', async t => {
  t.equal(
    await whenAnswered(
      runs,
      proxyOf({ a: 1 }, () => 0),
      10,
    ),
    1,
  )
  t.equal(
    await whenAnswered(
      runs,
      proxyOf({}, () => 0),
      10,
    ),
    2,
  )
})
