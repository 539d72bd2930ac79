import assert from 'node:assert/strict'
import * as fc from 'fast-check'
import t from 'tap'
import type { Test } from 'tap'
import { DIAGNOSIS_CODES, isStuckStartCode } from '../../src/core/diagnosis/codes.ts'
import { diagnose, stuckStart } from '../../src/core/diagnosis/diagnose.ts'
import type { DiagnosisEvidence } from '../../src/core/diagnosis/diagnosis.ts'
import type {
  Condition,
  Container,
  ContainerState,
  ContainerStatus,
  ContainerTermination,
  Instant,
  Job,
  KubernetesEvent,
  Node,
  ObjectMeta,
  Pod,
} from '../../src/core/objects.ts'
import { at } from '../fixtures/kubernetes.ts'

/** The words of Kubernetes that the rules know, and words that nobody knows. */
const WORDS = [
  'Error',
  'OOMKilled',
  'Evicted',
  'Completed',
  'StartError',
  'ContainerStatusUnknown',
  'ErrImagePull',
  'ImagePullBackOff',
  'CrashLoopBackOff',
  'CreateContainerConfigError',
  'ContainerCreating',
  'Unschedulable',
  'DeadlineExceeded',
  'BackoffLimitExceeded',
  'PodFailurePolicy',
  'FailedIndexes',
  'FailedMount',
  'FailedCreate',
  'Failed',
  'Killing',
  'EvictionByEvictionAPI',
  'DeletionByTaintManager',
  'DeletionByPodGC',
  'PreemptionByScheduler',
  'Terminated',
  'OutOfcpu',
  'constructor',
] as const

const word = fc.oneof(fc.constantFrom(...WORDS), fc.string())
const message = fc.oneof(
  fc.constantFrom(
    'Stopping container prefect-job',
    'Container prefect-job for pod team/pod-0 failed',
    'Failed to pull image "x": pull QPS exceeded',
    '1 Insufficient cpu',
  ),
  fc.string(),
)
/** Few instants, so that ties are common. */
const instant: fc.Arbitrary<Instant> = fc.integer({ min: 0, max: 90 }).map(at)
/** Few containers, so that statuses and specs meet. */
const containerName = fc.constantFrom('prefect-job', 'proxy', 'setup')

/** A record of which any part but the required ones may be absent, as in the API. */
const partial = <T>(parts: { [K in keyof T]: fc.Arbitrary<T[K]> }, required: (keyof T)[]): fc.Arbitrary<T> =>
  fc.record(parts, { requiredKeys: required }) as fc.Arbitrary<T>

const condition: fc.Arbitrary<Condition> = partial<Required<Condition>>(
  {
    type: fc.constantFrom(
      'DisruptionTarget',
      'PodScheduled',
      'PodReadyToStartContainers',
      'Failed',
      'FailureTarget',
      'Complete',
      'SuccessCriteriaMet',
    ),
    status: fc.constantFrom('True', 'False', 'Unknown'),
    reason: word,
    message,
    lastTransitionTime: instant,
  },
  ['type', 'status'],
)

const termination: fc.Arbitrary<ContainerTermination> = partial<Required<ContainerTermination>>(
  {
    exitCode: fc.oneof(fc.constantFrom(0, 1, 3, 137, 143), fc.integer()),
    signal: fc.integer({ min: 0, max: 70 }),
    reason: word,
    message,
    startedAt: instant,
    finishedAt: instant,
  },
  ['exitCode'],
)

const state: fc.Arbitrary<ContainerState> = fc.oneof(
  fc.constant({}),
  fc.record({ running: fc.constant({}) }),
  fc.record({ terminated: termination }),
  fc.record({ waiting: fc.record({ reason: word, message }, { requiredKeys: [] }) }),
)

const containerStatus: fc.Arbitrary<ContainerStatus> = fc.record({
  name: containerName,
  restartCount: fc.nat({ max: 3 }),
  state,
  lastState: state,
})

const container: fc.Arbitrary<Container> = partial<Required<Container>>(
  {
    name: containerName,
    image: word,
    memoryLimit: fc.constant('64Mi'),
    restartPolicy: fc.constant('Always'),
  },
  ['name'],
)

const metadata = (name: string, owner: fc.Arbitrary<string>): fc.Arbitrary<ObjectMeta> =>
  partial<Required<ObjectMeta>>(
    {
      name: fc.constant(name),
      namespace: fc.constant('team'),
      uid: fc.constant(`${name}-uid`),
      resourceVersion: fc.constant('1'),
      creationTimestamp: instant,
      deletionTimestamp: instant,
      deletionGracePeriodSeconds: fc.constantFrom(0, 30),
      labels: fc.oneof(
        fc.constant({}),
        fc.constantFrom('0', '1').map(index => ({ 'batch.kubernetes.io/job-completion-index': index })),
      ),
      annotations: fc.constant({}),
      ownerReferences: owner.map(uid => [{ kind: 'Job', name: 'etl', uid, controller: true }]),
    },
    [
      'name',
      'namespace',
      'uid',
      'resourceVersion',
      'creationTimestamp',
      'labels',
      'annotations',
      'ownerReferences',
    ],
  )

const pod = (index: number, ...owners: readonly string[]): fc.Arbitrary<Pod> =>
  fc.record({
    metadata: metadata(`pod-${index}`, fc.constantFrom(...owners)),
    spec: partial<Pod['spec']>(
      {
        nodeName: fc.constantFrom('node-1', 'node-2'),
        initContainers: fc.array(container, { maxLength: 2 }),
        containers: fc.array(container, { maxLength: 2 }),
      },
      ['initContainers', 'containers'],
    ),
    status: partial<Pod['status']>(
      {
        phase: fc.constantFrom('Pending', 'Running', 'Succeeded', 'Failed', 'Unknown'),
        reason: word,
        message,
        startTime: instant,
        conditions: fc.array(condition, { maxLength: 3 }),
        initContainerStatuses: fc.array(containerStatus, { maxLength: 2 }),
        containerStatuses: fc.array(containerStatus, { maxLength: 2 }),
      },
      ['phase', 'conditions', 'initContainerStatuses', 'containerStatuses'],
    ),
  })

const job: fc.Arbitrary<Job> = fc.record({
  metadata: metadata('job', fc.constant('none')),
  spec: fc.record({ suspend: fc.boolean() }),
  status: fc.record({
    active: fc.nat({ max: 2 }),
    succeeded: fc.nat({ max: 2 }),
    failed: fc.nat({ max: 2 }),
    terminating: fc.nat({ max: 2 }),
    conditions: fc.array(condition, { maxLength: 3 }),
  }),
})

const event: fc.Arbitrary<KubernetesEvent> = partial<Required<KubernetesEvent>>(
  {
    type: fc.constantFrom('Normal', 'Warning'),
    reason: word,
    message,
    regarding: fc
      .constantFrom('job', 'pod-0', 'pod-1')
      .map(name => ({ kind: 'Any', name, uid: `${name}-uid` })),
    count: fc.integer({ min: 1, max: 3 }),
    firstSeen: instant,
    lastSeen: instant,
  },
  ['type', 'reason', 'message', 'regarding', 'count'],
)

const node: fc.Arbitrary<Node> = partial<Required<Node>>(
  { name: fc.constant('node-1'), ready: fc.constantFrom('True', 'False', 'Unknown'), readySince: instant },
  ['name', 'ready'],
)

const evidence: fc.Arbitrary<DiagnosisEvidence> = partial<Required<DiagnosisEvidence>>(
  {
    job,
    pods: fc
      .tuple(fc.boolean(), fc.boolean(), fc.boolean())
      .chain(kept =>
        fc.tuple(
          ...kept.flatMap((keep, index) => (keep ? pod(index, 'job-uid', 'job-uid', 'other-uid') : [])),
        ),
      ),
    events: fc.array(event, { maxLength: 4 }),
    nodes: fc.array(node, { maxLength: 1 }),
    gone: fc.record({ job: fc.boolean(), pods: fc.subarray(['pod-0-uid', 'pod-1-uid', 'pod-2-uid']) }),
  },
  ['pods', 'events'],
)

const saysOutOfMemory = ({ pods }: DiagnosisEvidence): boolean =>
  pods.some(({ status }) =>
    [...status.initContainerStatuses, ...status.containerStatuses].some(
      ({ state, lastState }) =>
        state.terminated?.reason === 'OOMKilled' || lastState.terminated?.reason === 'OOMKilled',
    ),
  )

/** Holds a property against many cases; the failing one is printed with the seed that brings it back. */
function holds<T>(t: Test, cases: fc.Arbitrary<T>, check: (example: T) => void): void {
  t.doesNotThrow(() => fc.assert(fc.property(cases, check), { numRuns: 2000 }))
  t.end()
}

t.test('whatever is known, there is a diagnosis with a code, a sentence and a resolution, on one line', t =>
  holds(t, evidence, known => {
    const { rule, diagnosis } = diagnose(known)
    assert.match(rule, /^[A-Z]\w+$/)
    assert.ok(DIAGNOSIS_CODES.includes(diagnosis.code))
    assert.notEqual(diagnosis.summary, '')
    assert.notEqual(diagnosis.resolution, '')
    assert.ok((diagnosis.detail ?? '').length <= 500)
    assert.doesNotMatch(diagnosis.detail ?? '', /[\n\r\t]/)
  }),
)

t.test('the order in which pods and Events are listed is no matter', t => {
  const twice = evidence.chain(known =>
    fc.record({
      known: fc.constant(known),
      pods: fc.shuffledSubarray([...known.pods], { minLength: known.pods.length }),
      events: fc.shuffledSubarray([...known.events], { minLength: known.events.length }),
    }),
  )
  holds(t, twice, ({ known, pods, events }) => {
    const other = { ...known, pods, events }
    assert.deepEqual(diagnose(other), diagnose(known))
    assert.deepEqual(stuckStart(other), stuckStart(known))
  })
})

t.test('out of memory is claimed only where a runtime said OOMKilled', t =>
  holds(t, evidence, known => {
    const { code, cause } = diagnose(known).diagnosis
    assert.ok((code !== 'oom_killed' && cause !== 'oom_killed') || saysOutOfMemory(known))
  }),
)

t.test('a stuck start has a code that a grace can be set for, and began when its evidence says', t =>
  holds(t, evidence, known => {
    const stuck = stuckStart(known)
    if (!stuck) return
    assert.ok(isStuckStartCode(stuck.diagnosis.code))
    assert.ok(stuck.since >= at(0) && stuck.since <= at(90))
  }),
)

t.test('a pod of another Job changes nothing', t => {
  const ofJob = evidence.filter(({ job }) => job !== undefined)
  const strangers = pod(3, 'older-uid')
  holds(t, fc.record({ known: ofJob, stranger: strangers }), ({ known, stranger }) => {
    assert.deepEqual(diagnose({ ...known, pods: [...known.pods, stranger] }), diagnose(known))
  })
})
