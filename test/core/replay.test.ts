import t from 'tap'
import type { Verdict } from '../../src/core/verdict.ts'
import type { Expectation, Recording } from '../fixtures/recorded.ts'
import { readExpectations, readRecording } from '../fixtures/recorded.ts'
import { endOf, givenUpAfter, momentsOf } from './build/replay.ts'
import { decideIn, waitIn } from './build/world.ts'

const MOVES: ReadonlySet<Verdict['kind']> = new Set(['crash', 'newAttempt', 'cancel'])

/** What must come of a recording, when every wait is over; a run that nobody has to end is left alone. */
const ENDS: Readonly<Record<Expectation['end'], string>> = {
  Crashed: 'crash',
  retried: 'newAttempt',
  Completed: 'nothing FlowRunIsFinal',
  Failed: 'nothing FlowRunIsFinal',
  'not ours': 'nothing FlowRunIsTopLevel',
  alive: 'report StartIsStuck',
}

const recordings: readonly (readonly [Recording, Expectation])[] = await Promise.all(
  (await readExpectations()).map(async expected => [await readRecording(expected.name), expected] as const),
)

t.test(
  'at no moment of a recording is a verdict wrong, however Prefect and Kubernetes were interleaved',
  async t => {
    for (const [recording, expected] of recordings) {
      const wrong = momentsOf(recording, expected).flatMap(({ events, world }) => {
        const { verdict } = decideIn(world)
        const isRight = verdict.kind === ENDS[expected.end] && events >= givenUpAfter(recording)
        return MOVES.has(verdict.kind) && !isRight
          ? `${verdict.kind} ${verdict.reason} after ${events} events`
          : []
      })
      t.strictSame(wrong, [], recording.name)
    }
  },
)

t.test('a recorded death is answered at once, wherever waiting cannot help', async t => {
  /** It may still report; its pod has not ended; Prefect does not answer. */
  const slow = new Set(['m_exit0_silent', 'n_job_deleted', 'w_api_down'])
  for (const [recording, expected] of recordings) {
    if (!['Crashed', 'retried'].includes(expected.end)) continue
    const last = momentsOf(recording, expected).filter(({ events }) => events === recording.watch.length)
    const isAnswered = last.some(({ world }) => decideIn(world).verdict.kind === ENDS[expected.end])
    t.equal(isAnswered, !slow.has(recording.name), recording.name)
  }
})

t.test('in the end the verdict is the right one, and so is the diagnosis', async t => {
  for (const [recording, expected] of recordings) {
    const verdict = waitIn(endOf(recording, expected))
    const [kind, reason = verdict.reason] = (ENDS[expected.end] ?? '').split(' ')
    t.strictSame([verdict.kind, verdict.reason], [kind, reason], recording.name)
    const code = expected.end === 'alive' ? expected.stuckStart : expected.diagnosis
    if (verdict.kind !== 'nothing') t.equal(verdict.diagnosis.code, code, `${recording.name}: the diagnosis`)
  }
})

t.test('a restart at any moment, which forgets what has gone, leads to the same end', async t => {
  for (const [recording, expected] of recordings) {
    const settings = { workPools: ['kubernetes'] }
    const ends = recording.watch.map(
      (_, index) => waitIn({ ...endOf(recording, expected, index + 1), settings }).kind,
    )
    t.strictSame([...new Set(ends)], [ENDS[expected.end]?.split(' ')[0]], recording.name)
  }
})

t.test('a recorded Job that cannot start is ended by setting, after its grace', async t => {
  for (const [recording, expected] of recordings) {
    if (expected.end !== 'alive') continue
    const world = { ...endOf(recording, expected), settings: { stuckStart: 'crash' as const } }
    t.match(
      decideIn(world).verdict,
      { kind: 'report', would: 'crash' },
      `${recording.name}: within its grace`,
    )
    const { verdict } = decideIn({ ...world, now: world.now === undefined ? 0 : world.now + 700 })
    t.match(
      verdict,
      { kind: 'crash', diagnosis: { code: expected.stuckStart } },
      `${recording.name}: after it`,
    )
  }
})

t.test('where Prefect does not answer, nothing is decided until it does', async t => {
  const down = recordings.flatMap(([recording, expected]) =>
    momentsOf(recording, expected).filter(({ world }) => world.run === 'unknown'),
  )
  t.ok(down.length > 0, 'it was down in one of the recordings')
  for (const { events, world } of down)
    t.match(decideIn(world).verdict.kind, /nothing|requeue/, `after ${events} events`)
})
