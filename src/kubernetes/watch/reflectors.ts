import type { Comparison } from './comparison.ts'
import type { Meta } from '../parse/metadata.ts'
import { collectionPaths, type Resource } from '../paths.ts'
import { createReflector, type Reflector, type ReflectorOptions, type ReflectorStatus } from './reflector.ts'

export interface ReflectorsOptions<T extends Meta> extends Omit<ReflectorOptions<T>, 'path' | 'resource'> {
  readonly resource: Resource
  /** Empty: all, by one watch, which needs a ClusterRole. Else one watch for each, for which Roles do. */
  readonly namespaces: readonly string[]
}

/** The watches of one resource in several namespaces behind the face of one. */
export function createReflectors<T extends Meta>(options: ReflectorsOptions<T>): Reflector<T> {
  const { resource, namespaces } = options
  const paths = collectionPaths(resource, namespaces)
  const reflectors = paths.map(path => createReflector({ ...options, resource: resource.plural, path }))
  return {
    start: () => {
      for (const reflector of reflectors) reflector.start()
    },
    stop: async () => {
      await Promise.all(reflectors.map(async reflector => reflector.stop()))
    },
    hasSynced: () => reflectors.every(reflector => reflector.hasSynced()),
    whenSynced: async signal => {
      await Promise.all(reflectors.map(async reflector => reflector.whenSynced(signal)))
    },
    list: () => everything(reflectors),
    get: uid => first(reflectors, reflector => reflector.get(uid)),
    byIndex: key => reflectors.flatMap(reflector => reflector.byIndex(key)),
    status: () =>
      together(
        resource.plural,
        reflectors.map(reflector => reflector.status()),
      ),
    compare: async signal =>
      sum(await Promise.all(reflectors.map(async reflector => reflector.compare(signal)))),
  }
}

function* everything<T>(reflectors: readonly Reflector<T>[]): Generator<T> {
  for (const reflector of reflectors) yield* reflector.list()
}

function first<A, B>(values: readonly A[], find: (value: A) => B | undefined): B | undefined {
  for (const value of values) {
    const found = find(value)
    if (found !== undefined) return found
  }
  return undefined
}

const sum = (comparisons: readonly Comparison[]): Comparison => ({
  compared: comparisons.reduce((total, { compared }) => total + compared, 0),
  late: comparisons.reduce((total, { late }) => total + late, 0),
  missed: comparisons.reduce((total, { missed }) => total + missed, 0),
})

/** All are as well as the one that is worst off; the last event is the last of all. */
function together(resource: string, statuses: readonly ReflectorStatus[]): ReflectorStatus {
  const troubled =
    statuses.find(({ outage }) => outage !== undefined) ?? statuses.find(({ state }) => state !== 'watching')
  const times = {
    lastListAt: least(statuses.map(({ lastListAt }) => lastListAt)),
    lastProgressAt: least(statuses.map(({ lastProgressAt }) => lastProgressAt)),
    lastEventAt: most(statuses.map(({ lastEventAt }) => lastEventAt)),
    lastBookmarkAt: most(statuses.map(({ lastBookmarkAt }) => lastBookmarkAt)),
  }
  return {
    resource,
    state: troubled?.state ?? 'watching',
    synced: statuses.every(({ synced }) => synced),
    objects: statuses.reduce((total, { objects }) => total + objects, 0),
    ...Object.fromEntries(Object.entries(times).filter(([, time]) => time !== undefined)),
    ...(troubled?.outage && { outage: troubled.outage }),
  }
}

/** Absent as soon as one is: it has not happened everywhere yet. */
const least = (times: readonly (number | undefined)[]): number | undefined =>
  times.reduce((a, b) => (a === undefined || b === undefined ? undefined : Math.min(a, b)))

const most = (times: readonly (number | undefined)[]): number | undefined =>
  times.reduce((a, b) => (a === undefined || b === undefined ? (a ?? b) : Math.max(a, b)))
