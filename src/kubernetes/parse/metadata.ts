import type { Condition, ObjectMeta, OwnerReference } from '../../core/objects.ts'
import {
  instant,
  isRecord,
  list,
  optionalInstant,
  optionalNumber,
  optionalString,
  present,
  record,
  string,
  type Fields,
} from './fields.ts'

/** Annotations that mean something to us; others may be large (`kubectl.kubernetes.io/last-applied-configuration`). */
const KEPT_ANNOTATIONS = ['prefect.io/', 'prefect-lifeguard.dev/'] as const

const NONE: Readonly<Record<string, string>> = Object.freeze({})
const NO_OWNERS: readonly OwnerReference[] = Object.freeze([])

/** An object of which only the metadata is known, as the apiserver sends it for `PartialObjectMetadata`. */
export interface Meta {
  readonly metadata: ObjectMeta
}

/**
 * A parser of whole objects from one of their fields, whose errors name the object besides: `Job team/etl-7: status.active: ...`.
 */
export const named =
  <T>(kind: string, parse: (fields: Fields) => T) =>
  (json: unknown): T => {
    try {
      return parse(record(json, 'the object'))
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause
      throw new TypeError(`${kind} ${nameOf(json)}: ${cause.message}`, { cause })
    }
  }

/** `PartialObjectMetadata`, or the metadata of any other object. */
export const parseMeta: (json: unknown) => Meta = named('PartialObjectMetadata', fields => ({
  metadata: parseMetadata(fields['metadata']),
}))

/** The metadata that all objects have. All labels are kept, of annotations only ours and Prefect's. */
export function parseMetadata(value: unknown): ObjectMeta {
  const fields = record(value, 'metadata')
  return {
    name: string(fields['name'], 'metadata.name'),
    namespace: optionalString(fields['namespace']) ?? '',
    uid: string(fields['uid'], 'metadata.uid'),
    resourceVersion: string(fields['resourceVersion'], 'metadata.resourceVersion'),
    creationTimestamp: instant(fields['creationTimestamp'], 'metadata.creationTimestamp'),
    ...present(
      'deletionTimestamp',
      optionalInstant(fields['deletionTimestamp'], 'metadata.deletionTimestamp'),
    ),
    ...present('deletionGracePeriodSeconds', optionalNumber(fields['deletionGracePeriodSeconds'])),
    labels: strings(fields['labels'], 'metadata.labels'),
    annotations: keptAnnotations(strings(fields['annotations'], 'metadata.annotations')),
    ownerReferences: ownersOf(fields['ownerReferences']),
  }
}

/** Conditions of a Job or a pod, in the order Kubernetes keeps them. */
export const conditionsOf = (value: unknown): readonly Condition[] =>
  list(value, 'status.conditions').map(conditionOf)

function conditionOf(value: unknown): Condition {
  const fields = record(value, 'status.conditions[]')
  return {
    type: string(fields['type'], 'status.conditions[].type'),
    status: conditionStatus(fields['status']),
    ...present('reason', optionalString(fields['reason'])),
    ...present('message', optionalString(fields['message'])),
    ...present(
      'lastTransitionTime',
      optionalInstant(fields['lastTransitionTime'], 'status.conditions[].lastTransitionTime'),
    ),
  }
}

export function conditionStatus(value: unknown): Condition['status'] {
  if (value === 'True' || value === 'False' || value === 'Unknown') return value
  throw new TypeError(
    `status.conditions[].status: expected True, False or Unknown, found ${JSON.stringify(value)}`,
  )
}

/** The server's object itself, once each value has been looked at: a copy would cost time and memory. */
function strings(value: unknown, where: string): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return NONE
  if (!isStringMap(value)) throw new TypeError(`${where}: expected an object of strings`)
  return value
}

const isStringMap = (value: unknown): value is Readonly<Record<string, string>> =>
  isRecord(value) && Object.values(value).every(entry => typeof entry === 'string')

function keptAnnotations(annotations: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const kept = Object.entries(annotations).filter(([name]) =>
    KEPT_ANNOTATIONS.some(prefix => name.startsWith(prefix)),
  )
  return kept.length === 0 ? NONE : Object.fromEntries(kept)
}

function ownersOf(value: unknown): readonly OwnerReference[] {
  const owners = list(value, 'metadata.ownerReferences')
  return owners.length === 0 ? NO_OWNERS : owners.map(ownerOf)
}

function ownerOf(value: unknown): OwnerReference {
  const fields = record(value, 'metadata.ownerReferences[]')
  return {
    kind: string(fields['kind'], 'metadata.ownerReferences[].kind'),
    name: string(fields['name'], 'metadata.ownerReferences[].name'),
    uid: string(fields['uid'], 'metadata.ownerReferences[].uid'),
    controller: fields['controller'] === true,
  }
}

/** Whatever can be found of an object's name, for an error. */
function nameOf(json: unknown): string {
  const metadata = isRecord(json) && isRecord(json['metadata']) ? json['metadata'] : {}
  const name = optionalString(metadata['name']) ?? '(no name)'
  const namespace = optionalString(metadata['namespace'])
  return namespace === undefined ? name : `${namespace}/${name}`
}

/** A page of a list: `metav1.List` with its items unread. */
export interface Page {
  readonly items: readonly unknown[]
  readonly resourceVersion: string
  /** Present when there is more. */
  readonly next?: string
}

export function parsePage(json: unknown): Page {
  const fields = record(json, 'the list')
  const metadata = record(fields['metadata'], 'metadata')
  return {
    items: list(fields['items'], 'items'),
    resourceVersion: string(metadata['resourceVersion'], 'metadata.resourceVersion'),
    ...present('next', optionalString(metadata['continue'])),
  }
}
