/** Where the API keeps one kind of objects. */
export interface Resource {
  /** `/api/v1`, or `/apis/<group>/<version>`. */
  readonly base: string
  readonly plural: string
}

export const JOBS: Resource = { base: '/apis/batch/v1', plural: 'jobs' }
export const PODS: Resource = { base: '/api/v1', plural: 'pods' }
export const NODES: Resource = { base: '/api/v1', plural: 'nodes' }
export const SECRETS: Resource = { base: '/api/v1', plural: 'secrets' }
/** The old group: it can be searched by the UID of what an event is about. */
export const CORE_EVENTS: Resource = { base: '/api/v1', plural: 'events' }
export const EVENTS: Resource = { base: '/apis/events.k8s.io/v1', plural: 'events' }
export const LEASES: Resource = { base: '/apis/coordination.k8s.io/v1', plural: 'leases' }
export const MUTATING_WEBHOOKS: Resource = {
  base: '/apis/admissionregistration.k8s.io/v1',
  plural: 'mutatingwebhookconfigurations',
}
export const VALIDATING_WEBHOOKS: Resource = {
  base: '/apis/admissionregistration.k8s.io/v1',
  plural: 'validatingwebhookconfigurations',
}

/** The collection within a namespace, or without one: of the whole cluster. */
export const collectionPath = ({ base, plural }: Resource, namespace?: string): string =>
  namespace === undefined
    ? `${base}/${plural}`
    : `${base}/namespaces/${encodeURIComponent(namespace)}/${plural}`

/** The collections to look through: in these namespaces, or, where none is named, the one of the whole cluster. */
export const collectionPaths = (resource: Resource, namespaces: readonly string[]): readonly string[] =>
  namespaces.length === 0
    ? [collectionPath(resource)]
    : namespaces.map(namespace => collectionPath(resource, namespace))

export interface Place {
  /** Absent for what belongs to the whole cluster. */
  readonly namespace?: string
  readonly name: string
}

export const objectPath = (resource: Resource, { namespace, name }: Place): string =>
  `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}`
