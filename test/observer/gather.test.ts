import t from 'tap'
import type { FlowRun } from '../../src/core/flow-run.ts'
import type { Job } from '../../src/core/objects.ts'
import type { Reads } from '../../src/observer/reads.ts'
import { gather } from '../../src/observer/gather.ts'
import type { World } from '../core/build/world.ts'
import { settingsOf, UNKNOWN } from '../core/build/world.ts'
import { at, job, node, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run, states } from '../core/build/runs.ts'
import { signal } from './scene.ts'

const listedIn = <T>(found: readonly T[] | 'unknown' | undefined): readonly T[] =>
  found === UNKNOWN ? [] : (found ?? [])

/** What of a world can be looked up, and what was; a look-up of what is unknown fails. */
function readsIn(world: World) {
  const asked: string[] = []
  const answer = <T>(what: string, found: T | typeof UNKNOWN): Promise<T> => {
    asked.push(what)
    if (found === UNKNOWN) return Promise.reject(new Error(`${what}: 503`))
    return Promise.resolve(found)
  }
  const live = { jobs: world.live?.jobs ?? world.jobs, pods: world.live?.pods ?? world.pods }
  const flowRun = world.run === undefined ? run() : world.run
  const reads: Reads = {
    now: () => at(world.now ?? 60),
    seen: () => ({ jobs: listedIn(world.jobs), pods: listedIn(world.pods) }),
    jobsOf: () => answer('jobs', live.jobs === UNKNOWN ? UNKNOWN : listedIn(live.jobs).map(({ job }) => job)),
    podsOf: () => answer('pods', live.pods === UNKNOWN ? UNKNOWN : listedIn(live.pods).map(({ pod }) => pod)),
    job: (namespace, name) =>
      answer<Job | undefined>(
        `job ${namespace}/${name}`,
        world.namedJob === UNKNOWN ? UNKNOWN : world.namedJob?.job,
      ),
    pod: (namespace, name) => answer(`pod ${namespace}/${name}`, undefined),
    nodes: async names => {
      const found = await answer(`nodes ${names.join()}`, world.nodes ?? [])
      return new Map(names.map(name => [name, found.find(node => node.name === name)]))
    },
    eventsOf: namespace => answer(`events ${namespace}`, world.events ?? []),
    readFlowRun: () => answer<FlowRun | undefined>('run', flowRun ?? undefined),
    readStates: () => answer('states', world.states ?? []),
    lastHeartbeat: (_id, since) =>
      answer<number | undefined>(
        `heartbeat since ${(since - at(0)) / 1000}`,
        typeof world.heartbeat === 'number' ? at(world.heartbeat) : world.heartbeat,
      ),
  }
  return { reads, asked }
}

const gatherIn = async (world: World) => {
  const { reads, asked } = readsIn(world)
  const gathered = await gather(FLOW_RUN_ID, { reads, settings: settingsOf(world), signal })
  return { ...gathered, asked }
}

const FAILED = job({ failed: 'BackoffLimitExceeded', ended: 30 })
const OOM = pod({ oom: true })

interface Sentence extends World {
  readonly asked: readonly string[]
  readonly verdict: string
}

t.test('only what the rules ask for is read', async t => {
  const sentences: Readonly<Record<string, Sentence>> = {
    'a run that lives: nobody is asked': {
      jobs: [job()],
      pods: [pod()],
      asked: [],
      verdict: 'nothing JobIsActive',
    },
    'dead and Running: the run, then the cluster, no history': {
      jobs: [FAILED],
      pods: [OOM],
      asked: ['run', 'jobs', 'pods'],
      verdict: 'crash JobFailed',
    },
    'dead and Pending: the history, too': {
      jobs: [FAILED],
      pods: [OOM],
      run: run({ state: 'Pending@1' }),
      states: states('Scheduled', 'Pending@1'),
      asked: ['run', 'jobs', 'pods', 'states'],
      verdict: 'crash JobFailed',
    },
    'final already: the run, and no more': {
      jobs: [FAILED],
      pods: [OOM],
      run: run({ state: 'Completed@30' }),
      asked: ['run'],
      verdict: 'nothing FlowRunIsFinal',
    },
    'unknown to Prefect': {
      jobs: [FAILED],
      pods: [OOM],
      run: null,
      asked: ['run'],
      verdict: 'nothing FlowRunNotFound',
    },
    'a pod that is overdue: its node': {
      jobs: [FAILED],
      pods: [pod({ due: 40 })],
      nodes: [node('node-1')],
      asked: ['nodes node-1'],
      verdict: 'nothing PodIsNotTerminal',
    },
    'another Job is named: that one is looked for': {
      jobs: [FAILED],
      pods: [OOM],
      run: run({ names: 'other' }),
      namedJob: job({ name: 'other' }),
      asked: ['run', 'jobs', 'pods', 'job team/other'],
      verdict: 'nothing AnotherJobIsNamed',
    },
    'what names no Job is not looked for': {
      jobs: [FAILED],
      pods: [OOM],
      run: run({ infrastructurePid: 'a-process' }),
      asked: ['run', 'jobs', 'pods'],
      verdict: 'report NamedJobIsNotHere',
    },
    'the pod said nothing: the Events of Job and pod, namespace by namespace': {
      jobs: [FAILED],
      asked: ['run', 'jobs', 'pods', 'events team'],
      verdict: 'crash JobFailed',
    },
    'a state younger than the death: an hour of heartbeats': {
      now: 3640,
      jobs: [FAILED],
      pods: [OOM],
      run: run({ state: 'Running@50' }),
      heartbeat: 3600,
      asked: ['run', 'jobs', 'pods', 'heartbeat since 40'],
      verdict: 'requeue HeartIsBeating',
    },
  }
  for (const [sentence, { asked, verdict, ...world }] of Object.entries(sentences)) {
    const gathered = await gatherIn(world)
    t.strictSame(gathered.asked, asked, sentence)
    t.equal(`${gathered.decision.verdict.kind} ${gathered.decision.verdict.reason}`, verdict, sentence)
    t.equal(gathered.trouble, undefined, `${sentence}: no trouble`)
  }
})

t.test('a look-up that fails is unknown evidence, never none, and its trouble is told', async t => {
  const sentences: Readonly<Record<string, World & { readonly verdict: string; readonly trouble: string }>> =
    {
      'the run': { run: UNKNOWN, verdict: 'requeue FlowRunUnknown', trouble: 'run: 503' },
      'the live list of Jobs': {
        live: { jobs: UNKNOWN },
        verdict: 'requeue JobsUnknown',
        trouble: 'jobs: 503',
      },
      'the live list of pods': {
        live: { pods: UNKNOWN },
        verdict: 'requeue JobsUnknown',
        trouble: 'pods: 503',
      },
      'the history': {
        run: run({ state: 'Pending@1' }),
        states: UNKNOWN,
        verdict: 'requeue StateHistoryUnknown',
        trouble: 'states: 503',
      },
      'the named Job': {
        run: run({ names: 'other' }),
        namedJob: UNKNOWN,
        verdict: 'requeue NamedJobUnknown',
        trouble: 'job team/other: 503',
      },
      'the nodes': {
        pods: [pod({ due: 40 })],
        nodes: UNKNOWN,
        verdict: 'requeue NodesUnknown',
        trouble: 'nodes node-1: 503',
      },
      'the heartbeat': {
        now: 3640,
        run: run({ state: 'Running@50' }),
        heartbeat: UNKNOWN,
        verdict: 'requeue HeartbeatUnknown',
        trouble: 'heartbeat since 40: 503',
      },
      'the Events: the verdict stands without': {
        pods: [],
        events: UNKNOWN,
        verdict: 'crash JobFailed',
        trouble: 'events team: 503',
      },
    }
  for (const [sentence, { verdict, trouble, ...world }] of Object.entries(sentences)) {
    const gathered = await gatherIn({ jobs: [FAILED], pods: [OOM], ...world })
    t.equal(`${gathered.decision.verdict.kind} ${gathered.decision.verdict.reason}`, verdict, sentence)
    t.equal(gathered.trouble?.message, trouble, sentence)
  }
})

t.test('what is thrown and is no error becomes one', async t => {
  const { reads } = readsIn({ jobs: [FAILED], pods: [OOM] })
  const { trouble } = await gather(FLOW_RUN_ID, {
    // oxlint-disable-next-line typescript/prefer-promise-reject-errors -- a library may do so
    reads: { ...reads, readFlowRun: () => Promise.reject('a word') },
    settings: settingsOf({}),
    signal,
  })
  t.match(trouble, { name: 'Error', message: 'a word' })
})

t.test('Jobs are listed after the run was read', async t => {
  const order: string[] = []
  const { reads } = readsIn({ jobs: [FAILED], pods: [OOM] })
  await gather(FLOW_RUN_ID, {
    reads: {
      ...reads,
      readFlowRun: async (id, signal) => {
        order.push('run asked')
        const found = await reads.readFlowRun(id, signal)
        order.push('run told')
        return found
      },
      jobsOf: async (id, signal) => {
        order.push('jobs asked')
        return reads.jobsOf(id, signal)
      },
    },
    settings: settingsOf({}),
    signal,
  })
  t.strictSame(order, ['run asked', 'run told', 'jobs asked'])
})

t.test('a new attempt that came between the watch and the list saves the run', async t => {
  const { decision } = await gatherIn({
    jobs: [FAILED],
    pods: [OOM],
    live: {
      jobs: [FAILED, job({ name: 'second', created: 50 })],
      pods: [OOM, pod({ name: 'b', of: 'second' })],
    },
  })
  t.equal(decision.verdict.kind, 'nothing')
})

t.test('whoever stops is not told of trouble', async t => {
  const stop = new AbortController()
  const { reads } = readsIn({ jobs: [FAILED] })
  const gathered = gather(FLOW_RUN_ID, {
    reads: {
      ...reads,
      readFlowRun: async () => {
        stop.abort(new Error('no longer leading'))
        throw new Error('aborted')
      },
    },
    settings: settingsOf({}),
    signal: stop.signal,
  })
  await t.rejects(gathered, { message: 'no longer leading' })
})
