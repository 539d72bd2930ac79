import type { Job, KubernetesEvent, Node, Pod } from '../core/objects.ts'
import type { Access } from './http/access.ts'
import { allOf } from './list.ts'
import { createLists } from './lists.ts'
import { createObjects, type Objects } from './objects.ts'
import { parseEvent } from './parse/event.ts'
import { parseJob } from './parse/job.ts'
import { parseNode } from './parse/node.ts'
import { parsePod } from './parse/pod.ts'
import { collectionPath, collectionPaths, CORE_EVENTS, JOBS, NODES, PODS, type Place } from './paths.ts'

/**
 * Live reads, past every cache: what a decision is made on. A list is all of it or throws; `undefined` is a 404.
 * Whatever could not be found out throws a KubernetesError.
 */
export interface Reads {
  readonly jobsOf: (flowRunId: string, signal: AbortSignal) => Promise<readonly Job[]>
  readonly podsOf: (flowRunId: string, signal: AbortSignal) => Promise<readonly Pod[]>
  readonly job: (place: Required<Place>, signal: AbortSignal) => Promise<Job | undefined>
  readonly pod: (place: Required<Place>, signal: AbortSignal) => Promise<Pod | undefined>
  /** By name; `undefined` where there is no such node (any more). Each name is asked for once. */
  readonly nodes: (
    names: Iterable<string>,
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, Node | undefined>>
  /** Events about the objects with these UIDs, which are all in this namespace. */
  readonly eventsOf: (
    namespace: string,
    uids: Iterable<string>,
    signal: AbortSignal,
  ) => Promise<readonly KubernetesEvent[]>
}

export interface ReadsOptions {
  readonly access: Pick<Access, 'request'>
  /** Where to look; empty: everywhere, which needs a ClusterRole. */
  readonly namespaces: readonly string[]
}

const PAGE_SIZE = 500

export function createReads({ access, namespaces }: ReadsOptions): Reads {
  const objects = createObjects(access)
  return {
    jobsOf: createLists({ access, paths: collectionPaths(JOBS, namespaces), parse: parseJob }),
    podsOf: createLists({ access, paths: collectionPaths(PODS, namespaces), parse: parsePod }),
    job: async (place, signal) => objects.read({ resource: JOBS, ...place }, parseJob, signal),
    pod: async (place, signal) => objects.read({ resource: PODS, ...place }, parsePod, signal),
    nodes: async (names, signal) => nodesOf(objects, names, signal),
    eventsOf: async (namespace, uids, signal) => {
      const path = collectionPath(CORE_EVENTS, namespace)
      const lists = [...new Set(uids)].map(async uid =>
        allOf({
          access,
          scope: { path, fieldSelector: `involvedObject.uid=${uid}` },
          pageSize: PAGE_SIZE,
          signal,
        }),
      )
      return (await Promise.all(lists)).flat().map(parseEvent)
    },
  }
}

async function nodesOf(
  objects: Objects,
  names: Iterable<string>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Node | undefined>> {
  const reads = [...new Set(names)].map(
    async name => [name, await objects.read({ resource: NODES, name }, parseNode, signal)] as const,
  )
  return new Map(await Promise.all(reads))
}
