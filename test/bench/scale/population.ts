import { randomUUID } from 'node:crypto'
import { forEach } from '../observers/cast.ts'
import type { Run, World } from '../observers/world.ts'
import { jobs, pods } from '../../cluster/resources.ts'
import { ended, running } from '../../chaos/node.ts'

/** More at a time are no faster on two cores. */
const AT_ONCE = 24

/** Nobody starts anything there. */
const NODE = 'bench'

/** Makes for each run a Job and its pod, labelled as admission labels them, the pod running. */
export async function makeJobs({ controlPlane }: World, runs: readonly Run[]): Promise<void> {
  const { api } = controlPlane
  await forEach(runs, AT_ONCE, async run => {
    const { name, namespace } = run
    const labels = labelsOf(run)
    const annotations = { 'prefect.io/finalizer-free': 'true' }
    const podSpec = podSpecOf(run)
    const { metadata } = await api.create(jobs, {
      metadata: { name, namespace, labels, annotations },
      // Nobody but the driver writes statuses: no controller of the cluster's own takes such a Job.
      spec: { backoffLimit: 0, template: { metadata: { labels, annotations }, spec: podSpec } },
    })
    const owner = { apiVersion: 'batch/v1', kind: 'Job', name, uid: metadata.uid, controller: true }
    const jobLabels = {
      'batch.kubernetes.io/controller-uid': metadata.uid,
      'batch.kubernetes.io/job-name': name,
      'controller-uid': metadata.uid,
      'job-name': name,
    }
    await api.create(pods, {
      metadata: {
        name: podOf(run),
        namespace,
        labels: { ...labels, ...jobLabels },
        annotations,
        ownerReferences: [owner],
      },
      spec: { ...podSpec, nodeName: NODE },
    })
    const body = { status: { ...running(), conditions: conditions() } }
    await api.patch(pods, { name: podOf(run), namespace }, { subresource: 'status', body })
  })
}

/** Kills the pods, and says of the Jobs what the Job controller says then. */
export async function kill({ controlPlane }: World, runs: readonly Run[]): Promise<void> {
  const { api } = controlPlane
  await forEach(runs, AT_ONCE, async run => {
    const { name, namespace } = run
    const dead = { subresource: 'status', body: { status: ended('oom') } }
    await api.patch(pods, { name: podOf(run), namespace }, dead)
    await api.patch(jobs, { name, namespace }, { subresource: 'status', body: { status: failed() } })
  })
}

/** Removes Jobs and pods; there is no garbage collector here. */
export async function remove({ controlPlane }: World, runs: readonly Run[]): Promise<void> {
  const { api } = controlPlane
  const now = { gracePeriodSeconds: 0, propagationPolicy: 'Orphan' }
  await forEach(runs, AT_ONCE, async run => {
    await api.remove(jobs, { name: run.name, namespace: run.namespace }, now)
    await api.remove(pods, { name: podOf(run), namespace: run.namespace }, { gracePeriodSeconds: 0 })
  })
}

/** Pods that have nothing to do with Prefect. */
export async function makeForeignPods(
  { controlPlane }: World,
  namespace: string,
  count: number,
): Promise<void> {
  const numbers = Array.from({ length: count }, (_, number) => number)
  await forEach(numbers, AT_ONCE, number =>
    controlPlane.api.create(pods, {
      metadata: { name: `foreign-${number}`, namespace, labels: { app: 'foreign' } },
      spec: { nodeName: NODE, containers: [{ name: 'main', image: 'none' }] },
    }),
  )
}

const podOf = ({ name }: Run): string => `${name}-x7k2p`

/** As prefect-kubernetes 0.8.0 labels Jobs and pods, and admission besides. */
const labelsOf = ({ flowRunId, parentTaskRunId, name }: Run) => ({
  'app.kubernetes.io/managed-by': 'prefect',
  'app.kubernetes.io/part-of': 'prefect',
  'prefect.io/deployment-id': '5362ef91-3155-407e-8b5c-a88b25e3fbaa',
  'prefect.io/deployment-name': 'bench',
  'prefect.io/flow-id': '089ed7d2-e66c-4f58-8134-a741130b8ca9',
  'prefect.io/flow-name': 'bench',
  'prefect.io/flow-run-id': flowRunId,
  'prefect.io/flow-run-name': name,
  'prefect.io/parent-task-run-id': parentTaskRunId,
  'prefect.io/version': '3.8.8',
  'prefect.io/work-pool-id': '209512ab-de0a-46af-bf80-59c848d5fc4f',
  'prefect.io/work-pool-name': 'bench',
  'prefect.io/worker-name': 'worker-1',
})

/** As large as a real one: a flow's environment, limits, a volume. */
function podSpecOf({ flowRunId }: Run) {
  const settings = Array.from({ length: 20 }, (_, number) => ({
    name: `PREFECT_SETTING_NUMBER_${number}`,
    value: `${randomUUID()} ${number}`,
  }))
  return {
    restartPolicy: 'Never',
    containers: [
      {
        name: 'prefect-job',
        image: 'registry.example.com/team/flows:2026-11-24',
        args: ['prefect', 'flow-run', 'execute'],
        env: [{ name: 'PREFECT__FLOW_RUN_ID', value: flowRunId }, ...settings],
        resources: { limits: { memory: '4Gi' }, requests: { cpu: '500m', memory: '2Gi' } },
        volumeMounts: [{ name: 'scratch', mountPath: '/scratch' }],
      },
    ],
    volumes: [{ name: 'scratch', emptyDir: {} }],
  }
}

const now = (): string => new Date().toISOString().replace(/\.\d+Z$/, 'Z')

const conditions = (): readonly object[] =>
  ['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(type => ({
    type,
    status: 'True',
    lastTransitionTime: now(),
  }))

/** Both conditions: the API server refuses `Failed` without `FailureTarget`. */
function failed(): object {
  const reason = 'BackoffLimitExceeded'
  const message = 'Job has reached the specified backoff limit'
  const at = { status: 'True', reason, message, lastTransitionTime: now(), lastProbeTime: now() }
  return {
    startTime: now(),
    failed: 1,
    conditions: [
      { type: 'FailureTarget', ...at },
      { type: 'Failed', ...at },
    ],
  }
}
