import { LRUCache } from 'lru-cache'

import type { Gone, JobFact, PodFact } from '../core/facts.ts'
import { FLOW_RUN_ID_LABEL } from '../core/names.ts'
import type { Instant, Job, ObjectMeta, Pod } from '../core/objects.ts'
import type { Change } from './change.ts'

export interface TombstoneOptions {
  /** Flow runs that are remembered at most; the one that lost an object longest ago goes first. */
  readonly capacity: number
  /** How long a flow run is remembered after it last lost an object, in milliseconds. */
  readonly ttlMs: number
  readonly now: () => Instant
}

/**
 * Jobs and pods that went away, as they were last seen: what a death looked like, once the objects that showed it
 * are gone. Objects that are there are the watch's business.
 */
export interface Tombstones {
  readonly jobChanged: (change: Change<Job>) => void
  readonly podChanged: (change: Change<Pod>) => void
  readonly jobsOf: (flowRunId: string) => readonly JobFact[]
  readonly podsOf: (flowRunId: string) => readonly PodFact[]
  readonly forget: (flowRunId: string) => void
  /** Flow runs that are remembered. */
  readonly size: () => number
}

/** The last deaths explain a run; a parallel Job may have thousands of pods. */
const OBJECTS_PER_RUN = 50

interface Meta {
  readonly metadata: ObjectMeta
}

interface Grave<T> {
  readonly object: T
  readonly gone: Gone
}

/**
 * A deletion that was not seen to its end is remembered as `finalStateUnknown`. That is so for an object that a list
 * lacked, and for one that left the watch without a deletionTimestamp: a Job deleted in the background looks just
 * like one that lost its label, and where it was the label it lives. So what is remembered here makes a run worth a
 * live look, and is no proof by itself.
 */
export function createTombstones({ capacity, ttlMs, now }: TombstoneOptions): Tombstones {
  const create = <T extends Meta>(): Graveyard<T> => createGraveyard({ capacity, ttlMs, now })
  const jobs = create<Job>()
  const pods = create<Pod>()
  return {
    jobChanged: jobs.changed,
    podChanged: pods.changed,
    jobsOf: flowRunId => jobs.of(flowRunId).map(({ object, gone }) => ({ job: object, gone })),
    podsOf: flowRunId => pods.of(flowRunId).map(({ object, gone }) => ({ pod: object, gone })),
    forget: flowRunId => {
      jobs.forget(flowRunId)
      pods.forget(flowRunId)
    },
    size: () => new Set([...jobs.flowRunIds(), ...pods.flowRunIds()]).size,
  }
}

interface Graveyard<T> {
  readonly changed: (change: Change<T>) => void
  readonly of: (flowRunId: string) => readonly Grave<T>[]
  readonly forget: (flowRunId: string) => void
  readonly flowRunIds: () => Iterable<string>
}

/** Objects of one kind, by flow run and UID. */
function createGraveyard<T extends Meta>({ capacity, ttlMs, now }: TombstoneOptions): Graveyard<T> {
  const graves = new LRUCache<string, ReadonlyMap<string, Grave<T>>>({
    max: capacity,
    ttl: ttlMs,
    // Times are told by whoever made us, each of them anew.
    perf: { now },
    ttlResolution: 0,
  })
  const bury = (flowRunId: string, change: Change<T>): void => {
    const { uid } = change.object.metadata
    const others = [...(graves.peek(flowRunId) ?? [])].filter(([other]) => other !== uid)
    const grave = { object: change.object, gone: goneBy(change, now()) }
    graves.set(flowRunId, new Map([...others.slice(1 - OBJECTS_PER_RUN), [uid, grave]]))
  }
  /** It is there after all, or again: a list was behind, or a label came back. */
  const raise = (flowRunId: string, uid: string): void => {
    const buried = graves.peek(flowRunId)
    if (!buried?.has(uid)) return
    const others = [...buried].filter(([other]) => other !== uid)
    if (others.length === 0) graves.delete(flowRunId)
    else graves.set(flowRunId, new Map(others), { noUpdateTTL: true })
  }
  return {
    changed: change => {
      const flowRunId = change.object.metadata.labels[FLOW_RUN_ID_LABEL]
      if (flowRunId === undefined) return
      if (change.type === 'deleted') bury(flowRunId, change)
      else raise(flowRunId, change.object.metadata.uid)
    },
    of: flowRunId => [...(graves.peek(flowRunId)?.values() ?? [])],
    forget: flowRunId => {
      graves.delete(flowRunId)
    },
    flowRunIds: () => graves.keys(),
  }
}

const goneBy = (change: Change<unknown>, at: Instant): Gone => ({
  at,
  finalStateUnknown: change.finalStateUnknown === true || change.leftSelector === true,
})
