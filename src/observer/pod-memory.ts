import { z } from 'zod'
import type { JobFact, PodFact } from '../core/facts.ts'
import type { ContainerState, ContainerStatus, Pod } from '../core/objects.ts'
import { isOwnedBy } from '../core/life.ts'
import { DEAD_PODS } from './annotations.ts'

/** A Job's last pods explain its end; an annotation is no archive. */
const MOST_PODS = 3

/** Of a container's own words, somewhat more than the 500 characters that a diagnosis quotes. */
const MESSAGE_LENGTH = 600

/** All annotations of an object may have 256 KiB together; a pod of many containers must not use them up. */
const MOST_BYTES = 64 * 1024

const optionalText = z.exactOptional(z.string())
const optionalNumber = z.exactOptional(z.number())

const state = z.object({
  running: z.exactOptional(z.object({ startedAt: optionalNumber })),
  terminated: z.exactOptional(
    z.object({
      exitCode: z.number(),
      signal: optionalNumber,
      reason: optionalText,
      message: optionalText,
      startedAt: optionalNumber,
      finishedAt: optionalNumber,
    }),
  ),
})

const statuses = z.array(z.object({ name: z.string(), restartCount: z.number(), state, lastState: state }))

const containers = z.array(
  z.object({ name: z.string(), memoryLimit: optionalText, restartPolicy: optionalText }),
)

/** A pod that ended, in the shape of a pod: what a diagnosis reads of it. */
const deadPod = z.object({
  metadata: z.object({ name: z.string(), uid: z.string(), creationTimestamp: z.number() }),
  spec: z.object({ nodeName: optionalText, initContainers: containers, containers }),
  status: z.object({
    phase: z.literal('Failed'),
    reason: optionalText,
    message: optionalText,
    conditions: z.array(
      z.object({
        type: z.literal('DisruptionTarget'),
        status: z.literal('True'),
        reason: optionalText,
        message: optionalText,
      }),
    ),
    initContainerStatuses: statuses,
    containerStatuses: statuses,
  }),
})

type DeadPod = z.infer<typeof deadPod>

const deadPods = z.array(deadPod).max(MOST_PODS)

/**
 * The annotation that remembers how a Job's pods failed, or `undefined` where none has: a healthy run costs no
 * write. Pods that are there now win over what was remembered; of each the fields that a diagnosis reads, and only
 * the last few of them.
 */
export function rememberPods(fact: JobFact, pods: readonly PodFact[]): string | undefined {
  const now = pods
    .filter(pod => isOwnedBy(pod, fact) && pod.pod.status.phase === 'Failed')
    .map(({ pod }) => compact(pod))
  const present = new Set(now.map(({ metadata }) => metadata.uid))
  const before = readMemory(fact).filter(({ metadata }) => !present.has(metadata.uid))
  return bounded([...before, ...now].toSorted(byAge).slice(-MOST_PODS))
}

/** Timestamps have whole seconds; the UID makes the text the same whoever listed the pods. */
const byAge = (a: DeadPod, b: DeadPod): number =>
  a.metadata.creationTimestamp - b.metadata.creationTimestamp || (a.metadata.uid < b.metadata.uid ? -1 : 1)

/** As many of the last ones as there is room for. */
function bounded(pods: readonly DeadPod[]): string | undefined {
  if (pods.length === 0) return undefined
  const text = JSON.stringify(pods)
  return Buffer.byteLength(text) <= MOST_BYTES ? text : bounded(pods.slice(1))
}

/** The pods that their Jobs remember and that are no longer there. */
export function rememberedPods(jobs: readonly JobFact[], pods: readonly PodFact[]): readonly PodFact[] {
  const present = new Set(pods.map(({ pod }) => pod.metadata.uid))
  return jobs.flatMap(fact =>
    readMemory(fact)
      .filter(({ metadata }) => !present.has(metadata.uid))
      .map(dead => ({
        pod: expand(dead, fact),
        gone: { at: dead.metadata.creationTimestamp, finalStateUnknown: false },
      })),
  )
}

/** An annotation that somebody rewrote is no memory: it is passed over, and written anew with the next pod. */
function readMemory({ job }: JobFact): readonly DeadPod[] {
  const text = job.metadata.annotations[DEAD_PODS]
  if (text === undefined) return []
  try {
    return deadPods.safeParse(JSON.parse(text)).data ?? []
  } catch {
    return []
  }
}

function compact({ metadata, spec, status }: Pod): DeadPod {
  const dead = {
    metadata: { name: metadata.name, uid: metadata.uid, creationTimestamp: metadata.creationTimestamp },
    spec,
    status: {
      ...withShortMessage(status),
      conditions: status.conditions
        .filter(({ type, status: is }) => type === 'DisruptionTarget' && is === 'True')
        .map(withShortMessage),
      initContainerStatuses: status.initContainerStatuses.map(compactStatus),
      containerStatuses: status.containerStatuses.map(compactStatus),
    },
  }
  return deadPod.parse(dead)
}

const compactStatus = (status: ContainerStatus): ContainerStatus => ({
  ...status,
  state: compactState(status.state),
  lastState: compactState(status.lastState),
})

/** What ran on record when its pod was called Failed was not seen to end. */
const compactState = ({ running, terminated }: ContainerState): ContainerState => ({
  ...(running && { running }),
  ...(terminated && { terminated: withShortMessage(terminated) }),
})

/** The same with no more of its message than is quoted. */
const withShortMessage = <T extends { readonly message?: string }>(part: T): T =>
  part.message === undefined ? part : { ...part, message: part.message.slice(0, MESSAGE_LENGTH) }

function expand({ metadata, spec, status }: DeadPod, { job }: JobFact): Pod {
  const { namespace, name, uid, labels } = job.metadata
  return {
    metadata: {
      ...metadata,
      namespace,
      resourceVersion: 'remembered',
      labels,
      annotations: {},
      ownerReferences: [{ kind: 'Job', name, uid, controller: true }],
    },
    spec,
    status,
  }
}
