import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../cluster/api.ts'
import { isStatus } from '../cluster/api.ts'
import { nodes, pods } from '../cluster/resources.ts'
import type { Pod } from '../cluster/resources.ts'
import type { PodScript } from './lives.ts'

/**
 * A node whose pods are nothing but the statuses that a kubelet would write. Thousands of Jobs on two cores leave no
 * room for thousands of processes, nor for a Python in each, and neither would show the product anything else: it
 * reads statuses. What decides about Jobs is the real Job controller.
 */
export interface StatusNode {
  readonly stop: () => Promise<void>
}

export interface StatusNodeOptions {
  readonly api: Api
  /** Plays a new pod to its end; `terminating` aborts when it gets its deletionTimestamp or is gone. */
  readonly play: (pod: Pod, terminating: AbortSignal) => Promise<void>
}

const NODE = 'chaos'

/** After a watch that broke: the apiserver may be gone. */
const PAUSE_MS = 200

export async function startStatusNode({ api, play }: StatusNodeOptions): Promise<StatusNode> {
  const stop = new AbortController()
  const known = new Map<string, AbortController>()
  await api.create(nodes, { metadata: { name: NODE } })
  const capacity = { cpu: '100000', memory: '100000Gi', pods: '1000000' }
  const conditions = [
    {
      type: 'Ready',
      status: 'True',
      reason: 'KubeletReady',
      lastTransitionTime: now(),
      lastHeartbeatTime: now(),
    },
  ]
  await api.patch(
    nodes,
    { name: NODE },
    { subresource: 'status', body: { status: { capacity, allocatable: capacity, conditions } } },
  )
  // A node without a heartbeat is born with this taint, which goes once the node controller has seen it Ready.
  await api.patch(nodes, { name: NODE }, { body: { spec: { taints: null } } })

  const see = (pod: Pod): void => {
    const { uid, deletionTimestamp } = pod.metadata
    const isOver = pod.status.phase === 'Succeeded' || pod.status.phase === 'Failed'
    if (!known.has(uid) && !isOver) {
      const terminating = new AbortController()
      known.set(uid, terminating)
      play(pod, terminating.signal).catch((error: unknown) => {
        if (!stop.signal.aborted) process.stderr.write(`pod ${pod.metadata.name}: ${String(error)}\n`)
      })
    }
    if (deletionTimestamp !== undefined) known.get(uid)?.abort()
  }
  const forget = (uid: string): void => {
    known.get(uid)?.abort()
    known.delete(uid)
  }
  const onEvent = ({ type, object }: { type: string; object: Pod }): void => {
    if (type === 'DELETED') forget(object.metadata.uid)
    else see(object)
  }
  const listAndWatch = async (): Promise<void> => {
    const query = { fieldSelector: `spec.nodeName=${NODE}` }
    const { items, resourceVersion } = await api.list(pods, query)
    const present = new Set(items.map(({ metadata }) => metadata.uid))
    for (const uid of [...known.keys()].filter(uid => !present.has(uid))) forget(uid)
    for (const pod of items) see(pod)
    await api.watch(pods, { query, resourceVersion, signal: stop.signal, onEvent })
  }
  const follow = async (): Promise<void> => {
    while (!stop.signal.aborted) await listAndWatch().catch(() => sleep(PAUSE_MS))
  }
  const following = follow()
  return {
    stop: async () => {
      stop.abort()
      await following
    },
  }
}

const now = (): string => new Date().toISOString().replace(/\.\d+Z$/, 'Z')

const containerOf = (state: object, ready: boolean): object => ({
  name: 'prefect-job',
  image: 'none',
  imageID: '',
  ready,
  restartCount: 0,
  state,
})

/** The status of a pod that runs. */
export const running = (): object => ({
  phase: 'Running',
  startTime: now(),
  containerStatuses: [containerOf({ running: { startedAt: now() } }, true)],
})

type End = Exclude<PodScript['end'], 'never'> | 'terminated'

const EXITS: Readonly<Record<End, { readonly exitCode: number; readonly reason: string }>> = {
  completes: { exitCode: 0, reason: 'Completed' },
  saysNothing: { exitCode: 0, reason: 'Completed' },
  exits: { exitCode: 1, reason: 'Error' },
  oom: { exitCode: 137, reason: 'OOMKilled' },
  evicted: { exitCode: 137, reason: 'Error' },
  terminated: { exitCode: 143, reason: 'Error' },
}

/** The status of a pod that has ended, with what a kubelet writes at an eviction (pkg/kubelet/eviction). */
export const ended = (end: End): object => ({
  phase: EXITS[end].exitCode === 0 ? 'Succeeded' : 'Failed',
  ...(end === 'evicted' && {
    reason: 'Evicted',
    message: 'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ',
    conditions: [
      {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'TerminationByKubelet',
        message: 'The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. ',
        lastTransitionTime: now(),
      },
    ],
  }),
  containerStatuses: [
    containerOf({ terminated: { ...EXITS[end], startedAt: now(), finishedAt: now() } }, false),
  ],
})

export const isGone = (error: unknown): boolean => isStatus(error, 404)
