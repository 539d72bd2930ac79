import t from 'tap'
import type { Expectation, Recording } from '../fixtures/recorded.ts'
import { readExpectations, readRecording } from '../fixtures/recorded.ts'
import { givenUpAfter } from '../core/build/replay.ts'
import type { Replay } from './replay.ts'
import { createReplay } from './replay.ts'

/** The state that a recorded run must be brought to; none where it ends by itself, lives, or is not ours. */
const ENDS: Readonly<Record<Expectation['end'], readonly string[]>> = {
  Crashed: ['CRASHED'],
  retried: ['SCHEDULED'],
  Completed: [],
  Failed: [],
  'not ours': [],
  alive: [],
}

const recordings: readonly (readonly [Recording, Expectation])[] = await Promise.all(
  (await readExpectations()).map(async expected => [await readRecording(expected.name), expected] as const),
)

/** What was wrong about what became of a recording; nothing where all is right. */
function wrongIn(
  { proposed }: Replay,
  [recording, { end }]: readonly [Recording, Expectation],
): readonly string[] {
  const early = proposed.filter(({ events }) => events < givenUpAfter(recording))
  const types = proposed.map(({ proposal }) => proposal.type)
  const isRight = types.join() === ENDS[end].join()
  return [
    ...early.map(({ events, proposal }) => `${proposal.type} after ${events} events: too early`),
    ...(isRight ? [] : [`${types.join() || 'nothing'} instead of ${ENDS[end].join() || 'nothing'}`]),
  ]
}

/** After how many watch events something is different: Events about objects are read when they are needed, not watched. */
const momentsOf = ({ watch }: Recording): readonly number[] => [
  0,
  ...watch.flatMap(({ kind }, index) => (kind === 'Event' ? [] : index + 1)),
]

const codeOf = (message: string | undefined): string | undefined => /^\[(\w+)\]/.exec(message ?? '')?.[1]

t.test('played event by event, each recording ends as it should, and never before it is over', async t => {
  // States were sampled every second or two: they may have come sooner.
  const played = recordings.flatMap(each => [0, -1000, -2000].map(lag => ({ each, lag })))
  for (const { each, lag } of played) {
    const [recording, { end, diagnosis, stuckStart }] = each
    const replay = createReplay(...each, lag)
    await replay.lead()
    await replay.playOut()
    const what = `${recording.name}, states ${-lag} ms sooner`
    t.strictSame(wrongIn(replay, each), [], what)
    if (ENDS[end].length > 0) t.equal(codeOf(replay.proposed[0]?.proposal.message), diagnosis, `${what}: why`)
    if (stuckStart !== undefined)
      t.ok(replay.told.map(codeOf).includes(stuckStart), `${what}: that it cannot start is told`)
  }
})

for (const [title, meanwhile, missedUpTo] of [
  ['started anew', 'killed', (events: number) => events],
  ['started when all is over', 'down', () => Infinity],
] as const) {
  t.test(`killed after any event and ${title}, it leads to the same end`, async t => {
    for (const each of recordings) {
      const [recording, expected] = each
      const wrong: string[] = []
      for (const events of momentsOf(recording)) {
        const replay = createReplay(recording, expected)
        await replay.lead()
        await replay.playTo(events)
        await replay.kill()
        await replay.playTo(missedUpTo(events))
        await replay.lead()
        await replay.playOut()
        wrong.push(...wrongIn(replay, each).map(what => `${meanwhile} after ${events} events: ${what}`))
      }
      t.strictSame(wrong, [], recording.name)
    }
  })
}
