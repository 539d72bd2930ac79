import t from 'tap'
import { diagnose } from '../../src/core/diagnosis/diagnose.ts'
import type { JobFact, PodFact } from '../../src/core/facts.ts'
import type { ContainerStatus } from '../../src/core/objects.ts'
import { unseenEndOf } from '../../src/core/unseen-end.ts'
import { DEAD_PODS } from '../../src/observer/annotations.ts'
import { rememberedPods, rememberPods } from '../../src/observer/pod-memory.ts'
import { at, job, pod } from '../core/build/objects.ts'

/** The Job with an annotation. */
const withMemory = (fact: JobFact, memory: string | undefined): JobFact => ({
  ...fact,
  job: {
    ...fact.job,
    metadata: { ...fact.job.metadata, annotations: memory === undefined ? {} : { [DEAD_PODS]: memory } },
  },
})

/** The pod with more in its status. */
const withStatus = ({ pod }: PodFact, status: Partial<PodFact['pod']['status']>): PodFact => ({
  pod: { ...pod, status: { ...pod.status, ...status } },
})

const FAILED = job({ failed: 'BackoffLimitExceeded' })
const preempted = (message: string): PodFact =>
  pod({
    exitCode: 143,
    conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'PreemptionByScheduler', message }],
  })

/** Ways in which a pod fails, each with what a person is told. */
const DEATHS: Readonly<Record<string, PodFact>> = {
  'its memory ran out': pod({ oom: true }),
  'it exited with 3': pod({ exitCode: 3 }),
  'an init container failed': pod({ initExitCode: 4 }),
  'it was evicted, with words': withStatus(pod({ phase: 'Failed', reason: 'Evicted', unstarted: true }), {
    message: 'The node was low on resource: memory.',
  }),
  'it was preempted, with words': preempted('preempted by pod 7 on node node-1'),
  'its node was lost': pod({
    exitCode: 137,
    conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'DeletionByTaintManager' }],
  }),
  'its container said why': withStatus(pod({ exitCode: 1 }), {
    containerStatuses: [
      {
        name: 'prefect-job',
        restartCount: 0,
        state: {
          terminated: { exitCode: 1, reason: 'Error', message: 'no such module', finishedAt: at(20) },
        },
        lastState: {},
      },
    ],
  }),
  'its container said more than anybody quotes': withStatus(pod({ exitCode: 1 }), {
    containerStatuses: [
      {
        name: 'prefect-job',
        restartCount: 0,
        state: { terminated: { exitCode: 1, message: 'no such module, '.repeat(300), finishedAt: at(20) } },
        lastState: {},
      },
    ],
  }),
  'it had failed before': pod({ exitCode: 1, lastExitCode: 137 }),
}

t.test('a diagnosis survives the pod', t => {
  for (const [death, fact] of Object.entries(DEATHS)) {
    const told = diagnose({ job: FAILED.job, pods: [fact.pod], events: [] }).diagnosis
    const remembering = withMemory(FAILED, rememberPods(FAILED, [fact]))
    const [remembered, ...others] = rememberedPods([remembering], [])
    t.equal(others.length, 0, `${death}: one pod is remembered`)
    if (!remembered) throw new Error(`${death}: nothing was remembered`)
    const later = diagnose({
      job: FAILED.job,
      pods: [remembered.pod],
      events: [],
      gone: { job: false, pods: [remembered.pod.metadata.uid] },
    }).diagnosis
    t.strictSame(later, told, `${death}: [${told.code}]`)
    t.ok(remembered.gone && !remembered.gone.finalStateUnknown, `${death}: it is gone, and we saw its end`)
  }
  t.end()
})

t.test('a run without failed pods costs no annotation', t => {
  const sentences: Readonly<Record<string, readonly PodFact[]>> = {
    'no pod': [],
    'a pod that runs': [pod()],
    'a pod that succeeded': [pod({ exitCode: 0 })],
    'a failed pod of another Job': [pod({ oom: true, of: 'other' })],
    'a failed pod of nobody': [pod({ oom: true, of: null })],
  }
  for (const [sentence, pods] of Object.entries(sentences))
    t.equal(rememberPods(FAILED, pods), undefined, sentence)
  t.end()
})

t.test('what was written is read back, and written the same', t => {
  const memory = rememberPods(FAILED, [pod({ oom: true }), pod({ name: 'etl-b', exitCode: 2 })])
  const remembering = withMemory(FAILED, memory)
  t.equal(rememberPods(remembering, []), memory, 'with the pods gone')
  t.equal(rememberPods(remembering, [pod({ oom: true })]), memory, 'with one of them there')
  t.equal(rememberPods(remembering, rememberedPods([remembering], [])), memory, 'from what is remembered')
  t.end()
})

t.test('the text is the same whoever listed the pods', t => {
  const pods = ['c', 'a', 'b'].map(name => pod({ name, exitCode: 1, created: 1 }))
  t.equal(rememberPods(FAILED, pods), rememberPods(FAILED, pods.toReversed()))
  t.end()
})

t.test('a pod that is there wins over what was remembered of it', t => {
  const remembering = withMemory(FAILED, rememberPods(FAILED, [pod({ exitCode: 1 })]))
  t.strictSame(rememberedPods([remembering], [pod({ oom: true })]), [], 'it is not remembered twice')
  const [after] = rememberedPods([withMemory(FAILED, rememberPods(remembering, [pod({ oom: true })]))], [])
  t.equal(
    after?.pod.status.containerStatuses[0]?.state.terminated?.reason,
    'OOMKilled',
    'and is written anew',
  )
  t.end()
})

t.test('the last three pods are kept, over any number of retries', t => {
  let remembering = FAILED
  for (const n of [1, 2, 3, 4, 5, 6])
    remembering = withMemory(
      FAILED,
      rememberPods(remembering, [pod({ name: `etl-${n}`, exitCode: n, created: n })]),
    )
  t.strictSame(
    rememberedPods([remembering], []).map(({ pod }) => pod.metadata.name),
    ['etl-4', 'etl-5', 'etl-6'],
  )
  t.end()
})

const statusOf = (n: number): ContainerStatus => ({
  name: `container-${n}`,
  restartCount: 1,
  state: { terminated: { exitCode: 1, message: '\u0001é🙂'.repeat(2000) } },
  lastState: { terminated: { exitCode: 1, message: 'x'.repeat(4000) } },
})

const wide = (name: string, containers: number): PodFact => {
  const fact = pod({ name, exitCode: 1 })
  const statuses = Array.from({ length: containers }, (_, n) => statusOf(n))
  return withStatus(fact, { message: 'm'.repeat(5000), containerStatuses: statuses })
}

t.test('the annotation is bounded, whatever containers say and however many there are', t => {
  const cases = { 'three of 3': [3, 3], 'one of 20': [20, 1], 'none of 200': [200, 0] } as const
  for (const [sentence, [containers, kept]] of Object.entries(cases)) {
    const memory = rememberPods(
      FAILED,
      ['a', 'b', 'c'].map(name => wide(name, containers)),
    )
    t.ok(Buffer.byteLength(memory ?? '') <= 65_536, `${sentence} containers each: 64 KiB at most`)
    t.equal(rememberedPods([withMemory(FAILED, memory)], []).length, kept, `${sentence} containers each`)
  }
  t.end()
})

t.test('an annotation that somebody rewrote is no memory, and no harm', t => {
  const memory = rememberPods(FAILED, [pod({ oom: true })]) ?? ''
  const rewritten: Readonly<Record<string, string>> = {
    'not JSON': 'hands off',
    'no list': '{}',
    'a list of something else': '[1, null]',
    'a pod that runs': memory.replace('"Failed"', '"Running"'),
    'a pod without a name': memory.replace(/"name":"etl-a",/, ''),
    'more pods than we ever write': JSON.stringify(Array.from({ length: 4 }, () => JSON.parse(memory)[0])),
    nothing: '',
  }
  for (const [sentence, text] of Object.entries(rewritten)) {
    t.strictSame(rememberedPods([withMemory(FAILED, text)], []), [], sentence)
    t.equal(rememberPods(withMemory(FAILED, text), [pod({ oom: true })]), memory, `${sentence}: written anew`)
  }
  t.end()
})

const isUnseen = (fact: PodFact): boolean =>
  rememberedPods([withMemory(FAILED, rememberPods(FAILED, [fact]))], []).some(
    remembered => unseenEndOf(remembered) !== undefined,
  )

t.test('of a pod that the control plane called Failed it is remembered that nobody saw its end', async t => {
  const conditions = [{ type: 'DisruptionTarget', status: 'True', reason: 'DeletionByPodGC' }] as const
  const collected = pod({ phase: 'Failed', conditions })
  t.ok(isUnseen(collected), 'its container ran when it was last heard of')
  t.notOk(isUnseen(pod({ oom: true })), 'kubelet has seen its container end')
})
