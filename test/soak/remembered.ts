import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { parseJob } from '../../src/kubernetes/parse/job.ts'
import { parsePod } from '../../src/kubernetes/parse/pod.ts'
import { createTombstones } from '../../src/observer/tombstones.ts'
import type { Tombstones } from '../../src/observer/tombstones.ts'
import { lifeOf } from '../chaos/lives.ts'
import type { Life } from '../chaos/lives.ts'

/** Enough for the heap to be about them and nothing else. */
const RUNS = 3_000

const HOUR_MS = 3_600_000

/** The garbage collector, which a script sees only with this flag; it may be set at any time. */
function collector(): () => void {
  setFlagsFromString('--expose-gc')
  const collect: unknown = runInNewContext('gc')
  if (typeof collect !== 'function') throw new Error('this Node does not let its garbage be collected')
  return () => {
    collect()
  }
}

/**
 * Bytes of heap that the product keeps of a run whose Job and pods have gone: for an hour it remembers what they
 * looked like. Measured by having it remember thousands of the runs that a soak with this seed brings.
 */
export function bytesPerRun(seed: number): number {
  const collect = collector()
  const tombstones = createTombstones({ capacity: RUNS, ttlMs: HOUR_MS, now: Date.now })
  collect()
  const before = process.memoryUsage().heapUsed
  for (let number = 0; number < RUNS; number += 1) bury(number, lifeOf(seed, number), tombstones)
  collect()
  const bytes = (process.memoryUsage().heapUsed - before) / RUNS
  // Until here somebody must hold them.
  if (tombstones.size() !== RUNS) throw new Error(`${tombstones.size()} of ${RUNS} runs are remembered`)
  return bytes
}

/** All Jobs and pods of a run go. */
function bury(number: number, { attempts }: Life, { jobChanged, podChanged }: Tombstones): void {
  for (const [index, { pods }] of attempts.entries()) {
    const name = `run-${number}-${index}`
    jobChanged({ type: 'deleted', object: parseJob(received(jobOf(number, name))) })
    for (const pod of pods.keys())
      podChanged({ type: 'deleted', object: parsePod(received(podOf(number, `${name}-${pod}`))) })
  }
}

/** As it comes from the wire: no string of it is shared with another object. */
const received = (object: object): unknown => JSON.parse(JSON.stringify(object))

const idOf = (number: number, kind: number): string =>
  `${kind}0000000-0000-4000-8000-${String(number).padStart(12, '0')}`

const NOW = '2026-01-02T03:04:05Z'

const metadataOf = (number: number, name: string): object => ({
  name,
  namespace: 'default',
  uid: idOf(number, 1),
  resourceVersion: String(1_000_000 + number),
  creationTimestamp: NOW,
  deletionTimestamp: NOW,
  labels: {
    'prefect.io/flow-run-id': idOf(number, 2),
    'prefect.io/parent-task-run-id': idOf(number, 3),
    'prefect.io/flow-run-name': name,
    'prefect.io/version': '3.8.8',
    'chaos.test/attempt': name,
  },
  annotations: { 'prefect.io/finalizer-free': 'true' },
})

const condition = (type: string): object => ({ type, status: 'True', lastTransitionTime: NOW })

const jobOf = (number: number, name: string): object => ({
  metadata: metadataOf(number, name),
  spec: { backoffLimit: 0, completions: 1, parallelism: 1, completionMode: 'NonIndexed' },
  status: {
    startTime: NOW,
    completionTime: NOW,
    succeeded: 1,
    conditions: ['SuccessCriteriaMet', 'Complete'].map(condition),
  },
})

const podOf = (number: number, name: string): object => ({
  metadata: {
    ...metadataOf(number, name),
    uid: `${name}-${idOf(number, 4)}`,
    ownerReferences: [{ kind: 'Job', name, uid: idOf(number, 1), controller: true }],
  },
  spec: {
    nodeName: 'chaos',
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 30,
    containers: [{ name: 'prefect-job', image: 'none' }],
  },
  status: {
    phase: 'Succeeded',
    startTime: NOW,
    conditions: ['PodScheduled'].map(condition),
    containerStatuses: [
      {
        name: 'prefect-job',
        restartCount: 0,
        state: { terminated: { exitCode: 0, reason: 'Completed', startedAt: NOW, finishedAt: NOW } },
      },
    ],
  },
})
