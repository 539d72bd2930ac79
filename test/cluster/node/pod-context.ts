import { setTimeout as sleep } from 'node:timers/promises'
import type { Api } from '../api.ts'
import type { Container, Pod } from '../resources.ts'
import { timestamp } from '../time.ts'
import type { ContainerProcess } from './container.ts'
import type { Environment } from './environment.ts'
import type { PodEvent, RecordEvent } from './events.ts'
import { createStatusWriter } from './status-writer.ts'
import { isSidecar, podStatus } from './status.ts'
import type { ContainerRecord, PodRecord, PodStatus } from './status.ts'

export interface PodDeps {
  readonly api: Api
  /** Resolves when the node may talk to the API: at once, unless it is down. */
  readonly online: () => Promise<void>
  readonly recordEvent: RecordEvent
  readonly hostIP: string
  /** This pod's own folder: working directories and logs. */
  readonly folder: string
  /** Variables below those of the pod's spec, as an image's ENV: PATH at least. */
  readonly environment: Environment
  /** Of containers that keep ending, and of images that cannot be pulled. */
  readonly backOff: BackOff
  /** Whether a play that happens `times` times may happen once more to pods of this owner. */
  readonly takeTurn: (owner: string, times: number) => boolean
  readonly log: (line: string) => void
}

/** Doubled with each failure. A kubelet: 10 s, 5 minutes. */
export interface BackOff {
  readonly firstMs: number
  readonly mostMs: number
}

export interface Eviction {
  readonly message: string
  /** The node was short of something: the pod gets the condition DisruptionTarget, as only those evictions do. */
  readonly nodePressure?: boolean
}

/** One pod on this node: what its worker and its containers' runs share. */
export interface PodContext {
  readonly deps: PodDeps
  /** As last seen. */
  pod: Pod
  /** By container. */
  readonly running: Map<string, ContainerProcess>
  readonly ledger: Ledger
  readonly ending: Ending
}

export function createPodContext(pod: Pod, deps: PodDeps): PodContext {
  const context: PodContext = {
    deps,
    pod,
    running: new Map(),
    ledger: createLedger(pod, { deps, latest: () => context.pod }),
    ending: createEnding(),
  }
  return context
}

/** What is known of a pod's containers. Every change is told to the API. */
export interface Ledger {
  readonly containerOf: (name: string) => ContainerRecord
  readonly setContainer: (name: string, change: Partial<ContainerRecord>) => void
  readonly set: (change: Partial<PodRecord>) => void
  readonly startTime: string
  /** Resolves when the API knows all, or has the pod no more. */
  readonly flush: () => Promise<void>
  /** Nothing is told any more. */
  readonly close: () => void
}

function createLedger(
  first: Pod,
  { deps, latest }: { readonly deps: PodDeps; readonly latest: () => Pod },
): Ledger {
  const writer = createStatusWriter(first, deps)
  const startTime = first.status.startTime ?? timestamp()
  const containers = new Map(allContainers(first).map(({ name }) => [name, notYetCreated(first)]))
  let record: PodRecord = { startTime, sandbox: 'missing', containers, terminal: false }
  let previous: PodStatus | undefined
  const set = (change: Partial<PodRecord>): void => {
    record = { ...record, ...change }
    previous = podStatus({ pod: latest(), record, previous, now: timestamp(), hostIP: deps.hostIP })
    writer.write(previous)
  }
  const containerOf = (name: string): ContainerRecord => record.containers.get(name) ?? notYetCreated(first)
  return {
    containerOf,
    setContainer: (name, change) =>
      set({ containers: new Map(record.containers).set(name, { ...containerOf(name), ...change }) }),
    set,
    startTime,
    flush: writer.flush,
    close: writer.stop,
  }
}

const notYetCreated = ({ spec }: Pod): ContainerRecord => {
  const reason = spec.initContainers.length > 0 ? 'PodInitializing' : 'ContainerCreating'
  return { state: { kind: 'waiting', reason }, restartCount: 0 }
}

/** A wait that the pod's end cut short. */
export class Stopped extends Error {
  override readonly name = 'Stopped'
}

/** For `catch`: the pod's end is no failure of what it cut short. */
export function ignoreStopped(error: unknown): void {
  if (!(error instanceof Stopped)) throw error
}

/** The clock of a pod's end. */
export interface Ending {
  readonly hasBegun: () => boolean
  /** Whether the grace is over. */
  readonly isOverdue: () => boolean
  /** Gives true the first time. A later, shorter grace shortens it; a longer one changes nothing. */
  readonly begin: (graceMs: number, kill: () => void) => boolean
  /** @throws Stopped when the end begins, or has begun. */
  readonly pause: (ms: number) => Promise<void>
  /** Does something later, unless the pod is over by then. */
  readonly later: (ms: number, action: () => void) => void
  readonly close: () => void
}

function createEnding(): Ending {
  const begun = new AbortController()
  const timers = new Set<NodeJS.Timeout>()
  let dueAt = Infinity
  const later = (ms: number, action: () => void): void => {
    timers.add(setTimeout(action, ms).unref())
  }
  return {
    hasBegun: () => begun.signal.aborted,
    isOverdue: () => Date.now() >= dueAt,
    begin: (graceMs, kill) => {
      const isFirst = !begun.signal.aborted
      begun.abort()
      if (Date.now() + graceMs < dueAt) {
        dueAt = Date.now() + graceMs
        // Zero is now: a timer may come after the process has ended by itself.
        if (graceMs === 0) kill()
        else later(graceMs, kill)
      }
      return isFirst
    },
    pause: async ms => {
      await sleep(ms, undefined, { signal: begun.signal, ref: false }).catch(() => {})
      if (begun.signal.aborted) throw new Stopped()
    },
    later,
    close: () => {
      for (const timer of timers) clearTimeout(timer)
    },
  }
}

export interface End {
  /** Until SIGKILL. */
  readonly graceMs: number
  readonly failure?: { readonly reason: string; readonly message: string }
  readonly disruption?: string
}

/** Ends a pod: SIGTERM to its containers (sidecars come after the others), SIGKILL when the grace is over. */
export function endPod(context: PodContext, { graceMs, ...why }: End): void {
  const { running, ledger, ending } = context
  const isFirst = ending.begin(graceMs, () => {
    for (const container of running.values()) container.kill()
  })
  if (!isFirst) return
  for (const container of allContainers(context.pod)) {
    const process = running.get(container.name)
    if (!process) continue
    tell(
      context,
      { type: 'Normal', reason: 'Killing', message: `Stopping container ${container.name}` },
      container,
    )
    if (!isSidecar(container)) process.signal('SIGTERM')
  }
  // Also when nothing else is new: observedGeneration says that the deletion has been seen.
  ledger.set(why)
}

/** What a kubelet does when a pod uses too much or the node runs out of something: no grace. */
export function evictPod(context: PodContext, { message, nodePressure = false }: Eviction): void {
  tell(context, { type: 'Warning', reason: 'Evicted', message })
  const failure = { reason: 'Evicted', message }
  endPod(context, { graceMs: 0, failure, ...(nodePressure ? { disruption: message } : {}) })
}

/** Records an Event on the pod, about a container where one is given. */
export function tell(
  { pod, deps }: PodContext,
  event: Omit<PodEvent, 'fieldPath'>,
  container?: Container,
): void {
  const list = pod.spec.containers.some(({ name }) => name === container?.name)
    ? 'containers'
    : 'initContainers'
  deps.recordEvent(pod, container ? { ...event, fieldPath: `spec.${list}{${container.name}}` } : event)
}

const allContainers = ({ spec }: Pod): Container[] => [...spec.initContainers, ...spec.containers]

/** `name_namespace(uid)`, as a kubelet names a pod in messages. */
export const fullName = ({ metadata: { name, namespace, uid } }: Pod): string =>
  `${name}_${namespace}(${uid})`
