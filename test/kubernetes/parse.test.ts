import { readFile } from 'node:fs/promises'
import t from 'tap'

import { parseEvent } from '../../src/kubernetes/parse/event.ts'
import { parseJob } from '../../src/kubernetes/parse/job.ts'
import { parseMeta, parsePage } from '../../src/kubernetes/parse/metadata.ts'
import { parseNode } from '../../src/kubernetes/parse/node.ts'
import { parsePod } from '../../src/kubernetes/parse/pod.ts'
import { recordingNames } from '../fixtures/recorded.ts'
import { jobJson, listJson } from './objects.ts'

const created = Date.UTC(2026, 0, 2, 3, 4, 5)

/** Every object a real apiserver sent while runs died in many ways. */
async function recordedObjects(file: string): Promise<readonly unknown[]> {
  const names = await recordingNames()
  const texts = names.map(name =>
    readFile(new URL(`../fixtures/recorded/${name}/${file}`, import.meta.url), 'utf8'),
  )
  const lines = (await Promise.all(texts)).flatMap(text => text.split('\n').filter(line => line !== ''))
  return lines.map(line => (JSON.parse(line) as { object: unknown }).object)
}

t.test('a Job keeps what the rules read, absent stays absent', async t => {
  const full = {
    ...jobJson({ labels: { a: 'b' } }),
    spec: {
      backoffLimit: 0,
      backoffLimitPerIndex: 1,
      completions: 2,
      parallelism: 3,
      completionMode: 'Indexed',
      suspend: true,
      activeDeadlineSeconds: 60,
      managedBy: 'kueue.x-k8s.io/multikueue',
      template: { spec: { containers: [{ name: 'c', env: [{ name: 'SECRET', value: 'x' }] }] } },
    },
    status: {
      active: 1,
      succeeded: 2,
      failed: 3,
      terminating: 4,
      ready: 1,
      startTime: '2026-01-02T03:04:05Z',
      completionTime: '2026-01-02T03:04:06Z',
      uncountedTerminatedPods: {},
      conditions: [
        {
          type: 'Failed',
          status: 'True',
          reason: 'BackoffLimitExceeded',
          message: 'm',
          lastTransitionTime: '2026-01-02T03:04:05Z',
          lastProbeTime: '2026-01-02T03:04:05Z',
        },
        { type: 'Suspended', status: 'Unknown' },
      ],
    },
  }
  t.strictSame(parseJob(full), {
    metadata: {
      name: 'etl',
      namespace: 'team',
      uid: 'uid-of-etl',
      resourceVersion: '1',
      creationTimestamp: created,
      labels: { a: 'b' },
      annotations: {},
      ownerReferences: [],
    },
    spec: {
      backoffLimit: 0,
      backoffLimitPerIndex: 1,
      completions: 2,
      parallelism: 3,
      completionMode: 'Indexed',
      suspend: true,
      activeDeadlineSeconds: 60,
      managedBy: 'kueue.x-k8s.io/multikueue',
    },
    status: {
      active: 1,
      succeeded: 2,
      failed: 3,
      terminating: 4,
      startTime: created,
      completionTime: created + 1000,
      conditions: [
        {
          type: 'Failed',
          status: 'True',
          reason: 'BackoffLimitExceeded',
          message: 'm',
          lastTransitionTime: created,
        },
        { type: 'Suspended', status: 'Unknown' },
      ],
    },
  })
  const { spec, status } = parseJob(jobJson())
  t.strictSame(
    { spec, status },
    {
      spec: { suspend: false },
      status: { active: 0, succeeded: 0, failed: 0, terminating: 0, conditions: [] },
    },
  )
})

t.test('metadata keeps all labels, of annotations only ours and Prefect’s, and who owns it', async t => {
  const { metadata } = parseMeta(
    jobJson({
      labels: { 'prefect.io/flow-run-id': 'x', app: 'y' },
      metadata: {
        deletionTimestamp: '2026-01-02T03:04:06Z',
        deletionGracePeriodSeconds: 30,
        annotations: {
          'prefect.io/finalizer-free': 'true',
          'prefect-lifeguard.dev/verdict': 'crashed',
          'kubectl.kubernetes.io/last-applied-configuration': '{}',
          'notprefect.io/x': 'y',
        },
        ownerReferences: [
          {
            apiVersion: 'batch/v1',
            kind: 'Job',
            name: 'etl',
            uid: 'u',
            controller: true,
            blockOwnerDeletion: true,
          },
          { apiVersion: 'v1', kind: 'Pod', name: 'worker', uid: 'w' },
        ],
        managedFields: [{ manager: 'kubectl' }],
        finalizers: ['foregroundDeletion'],
      },
    }),
  )
  t.strictSame(metadata, {
    name: 'etl',
    namespace: 'team',
    uid: 'uid-of-etl',
    resourceVersion: '1',
    creationTimestamp: created,
    deletionTimestamp: created + 1000,
    deletionGracePeriodSeconds: 30,
    labels: { 'prefect.io/flow-run-id': 'x', app: 'y' },
    annotations: { 'prefect.io/finalizer-free': 'true', 'prefect-lifeguard.dev/verdict': 'crashed' },
    ownerReferences: [
      { kind: 'Job', name: 'etl', uid: 'u', controller: true },
      { kind: 'Pod', name: 'worker', uid: 'w', controller: false },
    ],
  })
})

t.test('a pod keeps what says how it ended, and nothing that may be secret', async t => {
  const pod = parsePod({
    ...jobJson(),
    kind: 'Pod',
    spec: {
      nodeName: 'node-1',
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 30,
      volumes: [{ name: 'v' }],
      initContainers: [{ name: 'sidecar', restartPolicy: 'Always' }],
      containers: [
        {
          name: 'main',
          image: 'i:1',
          env: [{ name: 'KEY', value: 'secret' }],
          resources: { limits: { memory: '512Mi', cpu: 1 } },
        },
      ],
    },
    status: {
      phase: 'Failed',
      reason: 'Evicted',
      message: 'disk',
      startTime: '2026-01-02T03:04:05Z',
      conditions: null,
      initContainerStatuses: [
        { name: 'sidecar', restartCount: 0, state: { waiting: { reason: 'PodInitializing' } } },
      ],
      containerStatuses: [
        {
          name: 'main',
          restartCount: 2,
          state: {
            terminated: {
              exitCode: 137,
              signal: 9,
              reason: 'OOMKilled',
              message: 'm',
              startedAt: '2026-01-02T03:04:05Z',
              finishedAt: '2026-01-02T03:04:06Z',
              containerID: 'x',
            },
          },
          lastState: { running: { startedAt: '2026-01-02T03:04:05Z' } },
        },
      ],
    },
  })
  t.notMatch(JSON.stringify(pod), /secret/)
  t.strictSame(pod.spec, {
    nodeName: 'node-1',
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 30,
    initContainers: [{ name: 'sidecar', restartPolicy: 'Always' }],
    containers: [{ name: 'main', image: 'i:1', memoryLimit: '512Mi' }],
  })
  t.strictSame(pod.status, {
    phase: 'Failed',
    reason: 'Evicted',
    message: 'disk',
    startTime: created,
    conditions: [],
    initContainerStatuses: [
      { name: 'sidecar', restartCount: 0, state: { waiting: { reason: 'PodInitializing' } }, lastState: {} },
    ],
    containerStatuses: [
      {
        name: 'main',
        restartCount: 2,
        state: {
          terminated: {
            exitCode: 137,
            signal: 9,
            reason: 'OOMKilled',
            message: 'm',
            startedAt: created,
            finishedAt: created + 1000,
          },
        },
        lastState: { running: { startedAt: created } },
      },
    ],
  })
})

const phaseOf = (phase: unknown): string => parsePod({ ...jobJson(), status: { phase } }).status.phase

t.test('a pod’s phase is one of Kubernetes’, Pending when nobody has looked at it yet', async t => {
  for (const phase of ['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']) t.equal(phaseOf(phase), phase)
  t.equal(phaseOf(undefined), 'Pending')
  t.equal(phaseOf(''), 'Pending')
  t.throws(() => phaseOf('Done'), { message: /^Pod team\/etl: status.phase: .*"Done"/ })
})

t.test('an Event reads the same in both of its groups', async t => {
  const regarding = { kind: 'Pod', name: 'p', uid: 'u', namespace: 'team' }
  const read = {
    type: 'Warning',
    reason: 'Failed',
    message: 'm',
    regarding: { kind: 'Pod', name: 'p', uid: 'u' },
    count: 3,
    firstSeen: created - 1000,
    lastSeen: created,
  }
  const core = {
    ...jobJson(),
    type: 'Warning',
    reason: 'Failed',
    message: 'm',
    involvedObject: regarding,
    count: 3,
    firstTimestamp: '2026-01-02T03:04:04Z',
    lastTimestamp: '2026-01-02T03:04:05Z',
  }
  const events = {
    ...jobJson(),
    type: 'Warning',
    reason: 'Failed',
    note: 'm',
    regarding,
    deprecatedCount: 3,
    deprecatedFirstTimestamp: '2026-01-02T03:04:04Z',
    deprecatedLastTimestamp: '2026-01-02T03:04:05Z',
  }
  t.strictSame(parseEvent(core), read)
  t.strictSame(parseEvent(events), read)
  const series = {
    ...jobJson(),
    regarding: { kind: 'Job', name: 'j' },
    eventTime: '2026-01-02T03:04:04.000000Z',
    series: { count: 5, lastObservedTime: '2026-01-02T03:04:05.000000Z' },
  }
  t.strictSame(parseEvent(series), {
    type: 'Normal',
    reason: '',
    message: '',
    regarding: { kind: 'Job', name: 'j', uid: '' },
    count: 5,
    firstSeen: created - 1000,
    lastSeen: created,
  })
  t.strictSame(parseEvent({ ...jobJson(), regarding: { kind: 'Job', name: 'j' } }).count, 1)
})

const node = (conditions: unknown): unknown => ({ metadata: { name: 'n' }, status: { conditions } })

t.test('a Node is as ready as its Ready condition says, Unknown without one', async t => {
  t.strictSame(
    parseNode(
      node([
        { type: 'MemoryPressure', status: 'False' },
        { type: 'Ready', status: 'Unknown', lastTransitionTime: '2026-01-02T03:04:05Z' },
      ]),
    ),
    { name: 'n', ready: 'Unknown', readySince: created },
  )
  t.strictSame(parseNode(node([{ type: 'Ready', status: 'True' }])), { name: 'n', ready: 'True' })
  t.strictSame(parseNode(node(undefined)), { name: 'n', ready: 'Unknown' })
})

const odd: Record<string, { parse: (json: unknown) => unknown; json: unknown; message: RegExp }> = {
  'no object at all': {
    parse: parseJob,
    json: 5,
    message: /^Job \(no name\): the object: expected an object, found number/,
  },
  'null for an object': { parse: parseJob, json: null, message: /found null/ },
  'no metadata': {
    parse: parseJob,
    json: {},
    message: /^Job \(no name\): metadata: expected an object, found undefined/,
  },
  'no UID': {
    parse: parseMeta,
    json: jobJson({ metadata: { uid: 5 } }),
    message: /^PartialObjectMetadata team\/etl: metadata.uid: expected a string, found number/,
  },
  'a label that is no string': {
    parse: parseMeta,
    json: jobJson({ labels: { a: 1 } }),
    message: /metadata.labels: expected an object of strings/,
  },
  'a time that is none': {
    parse: parseMeta,
    json: jobJson({ metadata: { creationTimestamp: 'soon' } }),
    message: /creationTimestamp: expected a time in RFC 3339/,
  },
  'a count in words': {
    parse: parseJob,
    json: jobJson({ status: { active: 'one' } }),
    message: /^Job team\/etl: status.active: expected a number, found string/,
  },
  'a condition neither true nor false': {
    parse: parseJob,
    json: jobJson({ status: { conditions: [{ type: 'Failed', status: 'true' }] } }),
    message: /status.conditions\[\].status: expected True, False or Unknown, found "true"/,
  },
  'conditions that are no list': {
    parse: parseJob,
    json: jobJson({ status: { conditions: {} } }),
    message: /status.conditions: expected a list/,
  },
  'a container without a name': {
    parse: parsePod,
    json: { ...jobJson(), spec: { containers: [{}] } },
    message: /^Pod team\/etl: spec.containers\[\].name/,
  },
  'an exit code that is none': {
    parse: parsePod,
    json: { ...jobJson(), status: { containerStatuses: [{ name: 'c', state: { terminated: {} } }] } },
    message: /state.terminated.exitCode/,
  },
  'a list without a version': {
    parse: parsePage,
    json: { metadata: {}, items: [] },
    message: /metadata.resourceVersion/,
  },
  'a cluster-wide object': {
    parse: parseNode,
    json: { metadata: { name: 'n' }, status: { conditions: [{ type: 'Ready', status: 'Yes' }] } },
    message: /^Node n: /,
  },
}

for (const [name, { parse, json, message }] of Object.entries(odd)) {
  t.test(`${name} is a TypeError that says where`, async t => {
    t.throws(() => parse(json), { name: 'TypeError', message })
  })
}

t.test('an error that is not about the object is not reworded', async t => {
  const bomb = {
    get metadata(): never {
      throw new RangeError('not about fields')
    },
  }
  t.throws(() => parseJob(bomb), { name: 'RangeError', message: 'not about fields' })
})

t.test('a page of a list names the next one, Go’s nil list is empty', async t => {
  t.strictSame(parsePage(listJson([jobJson()], '7', 'more')), {
    items: [jobJson()],
    resourceVersion: '7',
    next: 'more',
  })
  t.strictSame(parsePage({ metadata: { resourceVersion: '7', continue: '' }, items: null }), {
    items: [],
    resourceVersion: '7',
  })
})

const recorded: readonly (readonly [file: string, parse: (json: unknown) => unknown])[] = [
  ['jobs.ndjson', parseJob],
  ['pods.ndjson', parsePod],
  ['events.ndjson', parseEvent],
]

for (const [file, parse] of recorded) {
  t.test(`every object of the recorded ${file} is read and made smaller`, async t => {
    const objects = await recordedObjects(file)
    t.ok(objects.length > 50, `${objects.length} objects`)
    const parsed = objects.map(object => parse(object))
    t.ok(JSON.stringify(parsed).length < JSON.stringify(objects).length, 'made smaller')
  })
}
