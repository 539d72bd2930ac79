import t from 'tap'

import { lifeOf } from '../../src/core/life.ts'
import { known } from '../../src/core/evidence.ts'
import type { Job, ObjectMeta, Pod } from '../../src/core/objects.ts'
import { createTombstones } from '../../src/observer/tombstones.ts'

const RUN = '00000000-0000-4000-8000-000000000001'
const OTHER = '00000000-0000-4000-8000-000000000002'

const metadata = (name: string, labels: Record<string, string>): ObjectMeta => ({
  name,
  namespace: 'team',
  uid: `uid-${name}`,
  resourceVersion: '1',
  creationTimestamp: 0,
  labels,
  annotations: {},
  ownerReferences: [],
})

const job = (name: string, flowRunId: string | undefined = RUN): Job => ({
  metadata: metadata(name, flowRunId === undefined ? {} : { 'prefect.io/flow-run-id': flowRunId }),
  spec: { suspend: false },
  status: { active: 1, succeeded: 0, failed: 0, terminating: 0, conditions: [] },
})

const pod = (name: string, flowRunId = RUN): Pod => ({
  metadata: metadata(name, { 'prefect.io/flow-run-id': flowRunId }),
  spec: { initContainers: [], containers: [] },
  status: { phase: 'Failed', conditions: [], initContainerStatuses: [], containerStatuses: [] },
})

function start({ capacity = 10, ttlMs = 1000 } = {}) {
  let time = 5000
  const tombstones = createTombstones({ capacity, ttlMs, now: () => time })
  return {
    ...tombstones,
    pass: (ms: number) => {
      time += ms
    },
  }
}

t.test('a Job or pod that was deleted', async t => {
  t.test('is remembered as it was last seen, and when', async t => {
    const { jobChanged, podChanged, jobsOf, podsOf, pass } = start()
    const [first, second, dead] = [job('a'), job('b'), pod('p')]
    jobChanged({ type: 'deleted', object: first })
    pass(10)
    jobChanged({ type: 'deleted', object: second })
    podChanged({ type: 'deleted', object: dead })
    t.strictSame(jobsOf(RUN), [
      { job: first, gone: { at: 5000, finalStateUnknown: false } },
      { job: second, gone: { at: 5010, finalStateUnknown: false } },
    ])
    t.strictSame(podsOf(RUN), [{ pod: dead, gone: { at: 5010, finalStateUnknown: false } }])
    t.strictSame(jobsOf(OTHER), [])
  })

  for (const how of ['finalStateUnknown', 'leftSelector'] as const)
    t.test(`with ${how} may have changed since, or live`, async t => {
      const { jobChanged, jobsOf } = start()
      jobChanged({ type: 'deleted', object: job('a'), [how]: true })
      t.match(jobsOf(RUN), [{ gone: { finalStateUnknown: true } }])
    })

  t.test('makes its run worth a live look, which the watch alone would not', async t => {
    const { jobChanged, jobsOf } = start()
    const facts = { pods: known([]), now: 6000 }
    t.match(lifeOf({ ...facts, jobs: known(jobsOf(RUN)) }), { kind: 'dead', reason: 'NoTrace' })
    jobChanged({ type: 'deleted', object: job('a'), leftSelector: true })
    t.match(lifeOf({ ...facts, jobs: known(jobsOf(RUN)) }), {
      kind: 'dead',
      reason: 'JobDeleted',
      since: 5000,
    })
  })

  t.test('is remembered once when it is deleted twice', async t => {
    const { jobChanged, jobsOf, pass } = start()
    jobChanged({ type: 'deleted', object: job('a'), finalStateUnknown: true })
    pass(5)
    jobChanged({ type: 'deleted', object: job('a') })
    t.match(jobsOf(RUN), [{ gone: { at: 5005, finalStateUnknown: false } }])
    t.equal(jobsOf(RUN).length, 1)
  })

  t.test('of no flow run is not remembered', async t => {
    const { jobChanged, size } = start()
    const { metadata, ...rest } = job('a')
    jobChanged({ type: 'deleted', object: { ...rest, metadata: { ...metadata, labels: {} } } })
    t.equal(size(), 0)
  })
})

t.test('a Job or pod that is there', async t => {
  for (const type of ['added', 'modified'] as const)
    t.test(`and was ${type} is not remembered`, async t => {
      const { jobChanged, podChanged, jobsOf, podsOf, size } = start()
      jobChanged({ type, object: job('a') })
      podChanged({ type, object: pod('p') })
      t.strictSame([jobsOf(RUN), podsOf(RUN), size()], [[], [], 0])
    })

  t.test('after all is no longer remembered as gone, but the others are', async t => {
    const { jobChanged, jobsOf, size } = start()
    jobChanged({ type: 'deleted', object: job('a'), finalStateUnknown: true })
    jobChanged({ type: 'deleted', object: job('b') })
    jobChanged({ type: 'added', object: job('a') })
    t.match(jobsOf(RUN), [{ job: { metadata: { name: 'b' } } }])
    t.equal(jobsOf(RUN).length, 1)
    jobChanged({ type: 'modified', object: job('b') })
    t.equal(size(), 0)
  })

  t.test('under the name of one that is gone is another', async t => {
    const { jobChanged, jobsOf } = start()
    const gone = job('a')
    jobChanged({ type: 'deleted', object: gone })
    jobChanged({ type: 'added', object: { ...gone, metadata: { ...gone.metadata, uid: 'another' } } })
    t.match(jobsOf(RUN), [{ job: { metadata: { uid: 'uid-a' } } }])
  })
})

t.test('memory', async t => {
  t.test('ends some time after the last loss of a run', async t => {
    const { jobChanged, podChanged, jobsOf, podsOf, pass, size } = start({ ttlMs: 1000 })
    jobChanged({ type: 'deleted', object: job('a') })
    pass(900)
    jobChanged({ type: 'deleted', object: job('b') })
    podChanged({ type: 'deleted', object: pod('p') })
    pass(900)
    t.equal(jobsOf(RUN).length, 2)
    pass(101)
    t.strictSame([jobsOf(RUN), podsOf(RUN)], [[], []])
    t.equal(size(), 0)
  })

  t.test('is not made longer by an object that comes back', async t => {
    const { jobChanged, jobsOf, pass } = start({ ttlMs: 1000 })
    jobChanged({ type: 'deleted', object: job('a') })
    jobChanged({ type: 'deleted', object: job('b') })
    pass(900)
    jobChanged({ type: 'added', object: job('a') })
    pass(101)
    t.strictSame(jobsOf(RUN), [])
  })

  t.test('holds so many runs, and lets go of the one that lost something longest ago', async t => {
    const { jobChanged, jobsOf, size } = start({ capacity: 2 })
    const runs = [1, 2, 3].map(n => `00000000-0000-4000-8000-00000000000${n}`)
    for (const run of runs) jobChanged({ type: 'deleted', object: job('a', run) })
    t.strictSame(
      runs.map(run => jobsOf(run).length),
      [0, 1, 1],
    )
    t.equal(size(), 2)
  })

  t.test('is held no longer because somebody looks, or something of the run lives', async t => {
    const { jobChanged, jobsOf } = start({ capacity: 2 })
    const [first, second, third] = [1, 2, 3].map(n => `00000000-0000-4000-8000-00000000000${n}`)
    jobChanged({ type: 'deleted', object: job('a', first) })
    jobChanged({ type: 'deleted', object: job('a', second) })
    t.equal(jobsOf(first ?? '').length, 1)
    jobChanged({ type: 'modified', object: job('b', first) })
    jobChanged({ type: 'deleted', object: job('a', third) })
    t.strictSame(
      [first, second, third].map(run => jobsOf(run ?? '').length),
      [0, 1, 1],
    )
  })

  t.test('holds the last fifty pods of a run', async t => {
    const { podChanged, podsOf } = start()
    for (let n = 0; n < 60; n++) podChanged({ type: 'deleted', object: pod(`p${n}`) })
    t.equal(podsOf(RUN).length, 50)
    t.match(podsOf(RUN).at(0), { pod: { metadata: { name: 'p10' } } })
    t.match(podsOf(RUN).at(-1), { pod: { metadata: { name: 'p59' } } })
    podChanged({ type: 'deleted', object: pod('p59') })
    t.equal(podsOf(RUN).length, 50, 'one that goes twice pushes no other out')
  })

  t.test('ends when it is told to', async t => {
    const { jobChanged, podChanged, jobsOf, podsOf, forget, size } = start()
    jobChanged({ type: 'deleted', object: job('a') })
    podChanged({ type: 'deleted', object: pod('p') })
    podChanged({ type: 'deleted', object: pod('q', OTHER) })
    t.equal(size(), 2)
    forget(RUN)
    t.strictSame([jobsOf(RUN), podsOf(RUN)], [[], []])
    t.equal(podsOf(OTHER).length, 1)
  })
})
