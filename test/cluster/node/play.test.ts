import t from 'tap'
import { pods } from '../resources.ts'
import { playOf } from './play.ts'

const podWith = (annotations: Record<string, string>) =>
  pods.schema.parse({
    metadata: {
      name: 'p',
      uid: 'u',
      resourceVersion: '1',
      creationTimestamp: '2026-01-01T00:00:00Z',
      annotations: Object.fromEntries(
        Object.entries(annotations).map(([name, value]) => [`process-node.test/${name}`, value]),
      ),
    },
    spec: { containers: [{ name: 'first' }, { name: 'second' }] },
  })

t.test('annotations that say what to play', async t => {
  t.equal(playOf(podWith({ after: '1s' })), undefined, 'nothing, without a play')
  t.same(playOf(podWith({ play: 'OOMKilled' })), {
    kind: 'OOMKilled',
    container: 'first',
    afterMs: 0,
    times: Infinity,
    message: undefined,
  })
  const all = { play: 'Evicted', container: 'second', after: '2s', times: '3', message: 'the disk is full' }
  t.same(playOf(podWith(all)), {
    kind: 'Evicted',
    container: 'second',
    afterMs: 2_000,
    times: 3,
    message: 'the disk is full',
  })
  t.equal(playOf(podWith({ play: 'SIGKILL', after: '250ms' }))?.afterMs, 250)
})

t.test('annotations that make no sense are named', async t => {
  const cases: Record<string, [Record<string, string>, RegExp]> = {
    'a play nobody knows': [
      { play: 'Earthquake' },
      /test\/play is "Earthquake", and may be one of OOMKilled, /,
    ],
    'a time without a unit': [
      { play: 'SIGKILL', after: '5' },
      /test\/after is "5", and may be milliseconds or seconds/,
    ],
    'no times at all': [
      { play: 'SIGKILL', times: '0' },
      /test\/times is "0", and may be a whole number from 1/,
    ],
  }
  for (const [what, [annotations, message]] of Object.entries(cases)) {
    t.throws(() => playOf(podWith(annotations)), message, what)
  }
})
