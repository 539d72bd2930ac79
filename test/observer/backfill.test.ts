import pino from 'pino'
import { Registry } from 'prom-client'
import t from 'tap'

import type { Parent } from '../../src/core/parent.ts'
import { createBackfill, type Addition, type AddTo, type Meta } from '../../src/observer/backfill.ts'
import { createObserverMetrics } from '../../src/observer/metrics.ts'
import { createTestClock } from './test-clock.ts'

const RUN = '00000000-0000-4000-8000-000000000001'
const OTHER = '00000000-0000-4000-8000-000000000002'
const TASK_RUN = '00000000-0000-4000-8000-0000000000aa'
const SUBFLOW: Parent = { kind: 'subflow', parentTaskRunId: TASK_RUN }

const ADDITION: Addition = {
  labels: { 'prefect.io/parent-task-run-id': TASK_RUN },
  annotations: { 'prefect.io/finalizer-free': 'true' },
}

const object = (name: string, flowRunId: string | undefined = RUN): Meta => ({
  metadata: {
    name,
    namespace: 'team',
    uid: `uid-${name}`,
    resourceVersion: '1',
    creationTimestamp: 0,
    labels: flowRunId === '' ? {} : { 'prefect.io/flow-run-id': flowRunId },
    annotations: {},
    ownerReferences: [],
  },
})

const flowRunOf = (one: Meta): string | undefined => one.metadata.labels['prefect.io/flow-run-id']

/** What a watch of unlabelled objects holds: a change puts an object in or takes it out. */
function createWatch() {
  const objects = new Map<string, Meta>()
  return {
    objects,
    list: () => objects.values(),
    byIndex: (flowRunId: string) => [...objects.values()].filter(one => flowRunOf(one) === flowRunId),
    put: (...all: Meta[]) => {
      for (const one of all) objects.set(one.metadata.uid, one)
    },
    remove: (one: Meta) => objects.delete(one.metadata.uid),
  }
}

interface Answers {
  parents?: Readonly<Record<string, Parent | Error>>
  /** By the object's name; `applied` takes it from the watch, as its new label does. */
  patches?: Record<string, Awaited<ReturnType<AddTo>> | Error>
}

function start({ parents = { [RUN]: SUBFLOW }, patches = {} }: Answers = {}) {
  const time = createTestClock()
  const registry = new Registry()
  const lines: Record<string, unknown>[] = []
  const asked: string[] = []
  const patched: { kind: string; name: string; addition: Addition }[] = []
  const [jobs, pods] = [createWatch(), createWatch()]
  const answers = { ...parents }
  const addTo =
    (kind: 'Job' | 'Pod', watch: ReturnType<typeof createWatch>): AddTo =>
    (one, addition) => {
      const { name } = one.metadata
      patched.push({ kind, name, addition })
      const answer = patches[name] ?? 'applied'
      if (answer instanceof Error) return Promise.reject(answer)
      if (answer === 'applied') watch.remove(one)
      return Promise.resolve(answer)
    }
  const backfill = createBackfill({
    jobs,
    pods,
    parentOf: flowRunId => {
      asked.push(flowRunId)
      const answer = answers[flowRunId] ?? new Error('no answer was prepared')
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
    },
    addToJob: addTo('Job', jobs),
    addToPod: addTo('Pod', pods),
    logger: pino({ level: 'info' }, { write: (line: string) => lines.push(JSON.parse(line)) }),
    metrics: createObserverMetrics(registry),
    clock: time.clock,
  })
  const stopping = new AbortController()
  const run = async (): Promise<void> => {
    void backfill.run(stopping.signal)
    await time.settle()
  }
  const changed = async (watch: ReturnType<typeof createWatch>, one: Meta): Promise<void> => {
    const type = watch.objects.has(one.metadata.uid) ? 'modified' : 'added'
    watch.put(one)
    backfill.changed({ type, object: one })
    await time.settle()
  }
  const counted = async (): Promise<Record<string, number>> => {
    const { values } = (await registry.getSingleMetric('lifeguard_backfill_total')?.get()) ?? { values: [] }
    return Object.fromEntries(
      values.map(({ labels, value }) => [`${labels['kind']} ${labels['outcome']}`, value]),
    )
  }
  /** How many keys the queue has ever been given. */
  const added = async (): Promise<number | undefined> =>
    (await registry.getSingleMetric('workqueue_adds_total')?.get())?.values[0]?.value
  return {
    ...time,
    backfill,
    jobs,
    pods,
    run,
    changed,
    counted,
    added,
    asked,
    patched,
    answers,
    patches,
    lines,
    stopping,
  }
}

t.test('a subflow run whose objects admission missed', async t => {
  t.test('has its Job and its pods labelled, with one look-up', async t => {
    const { jobs, pods, run, patched, asked, counted } = start()
    jobs.put(object('job'))
    pods.put(object('pod-1'), object('pod-2'))
    await run()
    t.strictSame(asked, [RUN])
    t.strictSame(patched, [
      { kind: 'Job', name: 'job', addition: ADDITION },
      { kind: 'Pod', name: 'pod-1', addition: ADDITION },
      { kind: 'Pod', name: 'pod-2', addition: ADDITION },
    ])
    t.strictSame(await counted(), { 'Job applied': 1, 'Pod applied': 2 })
  })

  t.test('is found when an object comes later, without its Job', async t => {
    const { run, changed, pods, patched } = start()
    await run()
    await changed(pods, object('pod'))
    t.match(patched, [{ kind: 'Pod', name: 'pod' }])
  })

  t.test('is looked at again when its Job makes another pod', async t => {
    const { run, changed, jobs, pods, patched } = start()
    jobs.put(object('job'))
    await run()
    await changed(pods, object('pod'))
    t.match(patched, [{ name: 'job' }, { name: 'pod' }])
  })

  t.test('is left in peace when nothing of it is unlabelled any more', async t => {
    const { backfill, run, settle, asked, patched } = start()
    await run()
    backfill.changed({ type: 'modified', object: object('job') })
    await settle()
    t.strictSame([asked, patched], [[], []])
  })

  t.test('is not looked at for an object that went away or was labelled', async t => {
    const { backfill, run, added } = start()
    await run()
    backfill.changed({ type: 'deleted', object: object('job'), leftSelector: true })
    t.equal(await added(), 0)
  })

  for (const answer of ['unchanged', 'gone'] as const)
    t.test(`is done with when an object is ${answer}`, async t => {
      const { jobs, run, advance, patched, counted } = start({ patches: { job: answer } })
      jobs.put(object('job'))
      await run()
      await advance(3_600_000)
      t.equal(patched.length, 1)
      t.strictSame(await counted(), { [`Job ${answer}`]: 1 })
    })

  t.test('is looked at again in a second when an object had just changed', async t => {
    const { jobs, run, advance, patched, patches, counted } = start({ patches: { job: 'conflict' } })
    jobs.put(object('job'))
    await run()
    patches['job'] = 'applied'
    await advance(999)
    t.equal(patched.length, 1)
    await advance(1)
    t.equal(patched.length, 2)
    t.strictSame(await counted(), { 'Job conflict': 1, 'Job applied': 1 })
  })
})

t.test('a top-level run', async t => {
  t.test('is left alone, and asked about once', async t => {
    const { jobs, pods, run, changed, asked, patched, counted, lines, advance } = start({
      parents: { [RUN]: { kind: 'topLevel' } },
    })
    jobs.put(object('job'))
    pods.put(object('pod'))
    await run()
    await advance(86_400_000)
    await changed(pods, object('pod'))
    await changed(pods, object('pod-2'))
    t.strictSame(asked, [RUN])
    t.strictSame([patched, lines], [[], []])
    t.strictSame(await counted(), { 'Job topLevel': 1, 'Pod topLevel': 1 })
  })

  t.test('holds up no other', async t => {
    const { jobs, run, patched } = start({ parents: { [RUN]: { kind: 'topLevel' }, [OTHER]: SUBFLOW } })
    jobs.put(object('top', RUN), object('sub', OTHER))
    await run()
    t.match(patched, [{ name: 'sub' }])
    t.equal(patched.length, 1)
  })
})

t.test('a run that Prefect does not know', async t => {
  t.test('is left alone for a while, then asked about when something happens', async t => {
    const { jobs, run, changed, advance, asked, answers, patched } = start({
      parents: { [RUN]: { kind: 'notFound' } },
    })
    jobs.put(object('job'))
    await run()
    answers[RUN] = SUBFLOW
    await advance(599_000)
    await changed(jobs, object('job'))
    t.strictSame(asked, [RUN])
    await advance(1001)
    t.strictSame(asked, [RUN], 'no request for the asking: foreign Jobs may be many')
    await changed(jobs, object('job'))
    t.strictSame(asked, [RUN, RUN])
    t.match(patched, [{ name: 'job' }])
  })
})

t.test('a label that is no UUID', async t => {
  t.test('is warned of once, and never sent to Prefect', async t => {
    const { jobs, pods, run, changed, advance, asked, patched, lines, counted } = start()
    jobs.put(object('job', 'my-run'))
    pods.put(object('pod', 'my-run'))
    await run()
    await advance(86_400_000)
    await changed(jobs, object('job', 'my-run'))
    t.strictSame([asked, patched], [[], []])
    t.match(lines, [{ level: 40, flowRunId: 'my-run', objects: ['Job team/job', 'Pod team/pod'] }])
    t.equal(lines.length, 1)
    t.strictSame(await counted(), { 'Job noUuid': 1, 'Pod noUuid': 1 })
  })

  t.test('that is missing altogether is passed over', async t => {
    const { run, changed, jobs, asked } = start()
    await run()
    await changed(jobs, object('job', ''))
    t.strictSame(asked, [])
  })
})

t.test('trouble', async t => {
  const down = Object.assign(new Error('Prefect is down'), { retryAfterMs: 5000 })

  t.test('with Prefect is waited out as long as Prefect asks, and told', async t => {
    const { jobs, run, advance, asked, answers, patched, lines } = start({ parents: { [RUN]: down } })
    jobs.put(object('job'))
    await run()
    t.match(lines, [{ level: 40, flowRunId: RUN, retryInMs: 5000, err: { message: 'Prefect is down' } }])
    answers[RUN] = SUBFLOW
    await advance(4999)
    t.equal(asked.length, 1)
    await advance(1)
    t.equal(asked.length, 2)
    t.match(patched, [{ name: 'job' }])
  })

  t.test('with one object does not keep the others from their label', async t => {
    const { jobs, pods, run, advance, patched, patches, counted, lines } = start({
      patches: { job: new Error('403') },
    })
    jobs.put(object('job'))
    pods.put(object('pod'))
    await run()
    t.match(patched, [{ name: 'job' }, { name: 'pod' }])
    t.strictSame(await counted(), { 'Job failed': 1, 'Pod applied': 1 })
    t.match(lines.at(-1), { err: { message: '403' }, flowRunId: RUN })
    delete patches['job']
    await advance(200)
    t.equal(patched.length, 3, 'only what failed is tried again')
    t.equal(jobs.objects.size, 0)
  })

  t.test('that lasts is tried ever less often', async t => {
    const { jobs, run, advance, patched } = start({ patches: { job: new Error('403') } })
    jobs.put(object('job'))
    await run()
    await advance(3_600_000)
    t.ok(patched.length > 10 && patched.length < 30, `${patched.length} times in an hour`)
  })

  t.test('of an object that went away meanwhile is over', async t => {
    const { jobs, run, advance, asked } = start({ parents: { [RUN]: down } })
    jobs.put(object('job'))
    await run()
    jobs.objects.clear()
    await advance(3_600_000)
    t.equal(asked.length, 1)
  })
})

t.test('a replica that stands by', async t => {
  t.test('keeps nothing, and begins with everything there is', async t => {
    const { backfill, jobs, run, added, patched } = start()
    jobs.put(object('job'))
    backfill.changed({ type: 'added', object: object('job') })
    t.equal(await added(), 0)
    await run()
    t.match(patched, [{ name: 'job' }])
  })

  t.test('again has forgotten what waited, and does it when it works again', async t => {
    const { backfill, jobs, run, changed, stopping, added, asked, answers, advance, timers } = start({
      parents: { [RUN]: new Error('down') },
    })
    jobs.put(object('job'))
    await run()
    stopping.abort()
    await advance(0)
    t.equal(timers(), 0)
    await changed(jobs, object('job'))
    await advance(3_600_000)
    t.equal(asked.length, 1)
    t.equal(await added(), 1)
    answers[RUN] = SUBFLOW
    void backfill.run(new AbortController().signal)
    await advance(0)
    t.equal(jobs.objects.size, 0)
  })
})

t.test('an interruption is no failure of an object', async t => {
  const { jobs, run, stopping, counted, advance, patches, lines } = start()
  const reason = new Error('stop')
  jobs.put(object('job'))
  Object.defineProperty(patches, 'job', { get: () => (stopping.abort(reason), reason) })
  await run()
  await advance(0)
  t.strictSame(await counted(), {})
  t.strictSame(lines, [])
})

t.test('a burst is looked up together', async t => {
  const ids = Array.from(
    { length: 50 },
    (_, n) => `00000000-0000-4000-8000-0000000001${String(n).padStart(2, '0')}`,
  )
  const { clock, settle } = createTestClock()
  const jobs = createWatch()
  for (const id of ids) jobs.put(object(id, id))
  const asked: string[] = []
  const backfill = createBackfill({
    jobs,
    pods: createWatch(),
    parentOf: id => {
      asked.push(id)
      return new Promise(() => {})
    },
    addToJob: () => Promise.resolve('applied'),
    addToPod: () => Promise.resolve('applied'),
    logger: pino({ level: 'silent' }),
    metrics: createObserverMetrics(new Registry()),
    clock,
  })
  void backfill.run(new AbortController().signal)
  await settle()
  t.equal(asked.length, 50, 'as many as go into one request, before the first is answered')
})
