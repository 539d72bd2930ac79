import t from 'tap'
import type { JobFact, PodFact } from '../../src/core/facts.ts'
import type { Job, Pod } from '../../src/core/objects.ts'
import type { Reads } from '../../src/observer/reads.ts'
import { liveCluster } from '../../src/observer/live-cluster.ts'
import { at, job, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID } from '../core/build/runs.ts'
import { signal } from './scene.ts'

interface Cluster {
  /** What the watch knows. */
  readonly seen?: { readonly jobs?: readonly JobFact[]; readonly pods?: readonly PodFact[] }
  /** What the list by label finds. */
  readonly jobs?: readonly JobFact[]
  readonly pods?: readonly PodFact[]
  /** What is there by name, labelled or not. */
  readonly named?: { readonly job?: JobFact; readonly pod?: PodFact }
}

const unwanted = (): never => {
  throw new Error('nobody asks for this here')
}

async function look({ seen, jobs = [], pods = [], named }: Cluster) {
  const asked: string[] = []
  const byName =
    <T>(kind: string, found: T | undefined) =>
    async (namespace: string, name: string) => {
      asked.push(`${kind} ${namespace}/${name}`)
      return found
    }
  const reads: Reads = {
    now: () => at(60),
    seen: () => ({ jobs: seen?.jobs ?? [], pods: seen?.pods ?? [] }),
    jobsOf: async () => jobs.map(({ job }) => job),
    podsOf: async () => pods.map(({ pod }) => pod),
    job: byName<Job>('job', named?.job?.job),
    pod: byName<Pod>('pod', named?.pod?.pod),
    nodes: unwanted,
    eventsOf: unwanted,
    readFlowRun: unwanted,
    readStates: unwanted,
    lastHeartbeat: unwanted,
  }
  return { ...(await liveCluster(FLOW_RUN_ID, { reads, signal })), asked }
}

const UNSEEN_END = { at: at(60), finalStateUnknown: true }

t.test('a Job that the list lacks', async t => {
  const active = job()
  const sentences: Readonly<
    Record<string, { cluster: Cluster; asked: readonly string[]; found: readonly JobFact[] }>
  > = {
    'lost its label: it is found by name, as it is now': {
      cluster: { seen: { jobs: [active] }, named: { job: job({ labels: { other: 'label' } }) } },
      asked: ['job team/etl'],
      found: [job({ labels: { other: 'label' } })],
    },
    'was deleted while nobody looked': {
      cluster: { seen: { jobs: [active] } },
      asked: ['job team/etl'],
      found: [{ ...active, gone: UNSEEN_END }],
    },
    'was deleted, as was seen': {
      cluster: { seen: { jobs: [job({ gone: 20 })] } },
      asked: ['job team/etl'],
      found: [job({ gone: 20 })],
    },
    'another one has its name now': {
      cluster: { seen: { jobs: [active] }, named: { job: job({ uid: 'younger' }) } },
      asked: ['job team/etl'],
      found: [{ ...active, gone: UNSEEN_END }],
    },
    'was thought gone and lives': {
      cluster: { seen: { jobs: [job({ gone: { unseen: 20 } })] }, named: { job: active } },
      asked: ['job team/etl'],
      found: [active],
    },
    'had ended: nobody looks for it': {
      cluster: { seen: { jobs: [job({ complete: true })] }, named: { job: job({ complete: true }) } },
      asked: [],
      found: [{ ...job({ complete: true }), gone: UNSEEN_END }],
    },
  }
  for (const [sentence, { cluster, asked, found }] of Object.entries(sentences)) {
    const live = await look(cluster)
    t.strictSame(live.jobs, found, sentence)
    t.strictSame(live.asked, asked, `${sentence}: what was looked for`)
  }
})

t.test('a pod that the list lacks', async t => {
  const running = pod()
  const sentences: Readonly<
    Record<string, { cluster: Cluster; asked: readonly string[]; found: readonly PodFact[] }>
  > = {
    'lost its label and runs': {
      cluster: { seen: { pods: [running] }, named: { pod: running } },
      asked: ['pod team/etl-a'],
      found: [running],
    },
    'is gone': {
      cluster: { seen: { pods: [running] } },
      asked: ['pod team/etl-a'],
      found: [{ ...running, gone: UNSEEN_END }],
    },
    'another one has its name now': {
      cluster: {
        seen: { pods: [running] },
        named: { pod: { pod: { ...running.pod, metadata: { ...running.pod.metadata, uid: 'younger' } } } },
      },
      asked: ['pod team/etl-a'],
      found: [{ ...running, gone: UNSEEN_END }],
    },
    'was thought gone while it ran, and runs': {
      cluster: { seen: { pods: [pod({ gone: { unseen: 20 } })] }, named: { pod: running } },
      asked: ['pod team/etl-a'],
      found: [running],
    },
    'had ended: nobody looks for it': {
      cluster: { seen: { pods: [pod({ oom: true, gone: 20 })] } },
      asked: [],
      found: [pod({ oom: true, gone: 20 })],
    },
  }
  for (const [sentence, { cluster, asked, found }] of Object.entries(sentences)) {
    const live = await look(cluster)
    t.strictSame(live.pods, found, sentence)
    t.strictSame(live.asked, asked, `${sentence}: what was looked for`)
  }
})

t.test('what the list has counts, however the watch saw it last', async t => {
  const live = await look({
    seen: { jobs: [job({ gone: { unseen: 20 } })], pods: [pod()] },
    jobs: [job({ failed: 'BackoffLimitExceeded' })],
    pods: [pod({ exitCode: 1 })],
  })
  t.strictSame(live.jobs, [job({ failed: 'BackoffLimitExceeded' })])
  t.strictSame(live.pods, [pod({ exitCode: 1 })])
  t.strictSame(live.asked, [])
})
