import { SUSPENDED_BY_US_ANNOTATION } from '../core/names.ts'
import type { ObjectMeta } from '../core/objects.ts'
import type { Access } from './http/access.ts'
import { createObjects, type Objects, type Patched } from './objects.ts'
import { JOBS, MUTATING_WEBHOOKS, PODS, VALIDATING_WEBHOOKS, type Place, type Resource } from './paths.ts'

/** An object that was seen; the UID keeps a write from hitting another one by the same name. */
export interface Seen {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

/** What may be added to an object's metadata. */
export interface Additions {
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

export type WebhookConfigurationKind = 'MutatingWebhookConfiguration' | 'ValidatingWebhookConfiguration'

/** The few writes of this project. None ever touches finalizers, and none but {@link Writes.suspendJob} a spec. */
export interface Writes {
  /**
   * Makes these all of our annotations on a Job (those under `prefect-lifeguard.dev/`): what is left out is removed.
   * By server-side apply and without force: the fields are ours in `managedFields`, everybody else's stay, and where
   * a person has overwritten one, the answer is `conflict` and theirs stands.
   */
  readonly annotateJob: (
    job: Seen,
    annotations: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ) => Promise<Patched>
  /**
   * Adds labels and annotations that a Job or pod lacks; what is there stays, whatever its value. `conflict` when it
   * has changed since it was read: read again, it may have got them meanwhile.
   */
  readonly addToJob: (
    metadata: ObjectMeta,
    additions: Additions,
    signal: AbortSignal,
  ) => Promise<Patched | 'unchanged'>
  readonly addToPod: (
    metadata: ObjectMeta,
    additions: Additions,
    signal: AbortSignal,
  ) => Promise<Patched | 'unchanged'>
  /** Sets `spec.suspend`, and an annotation that says it was us: Kubernetes ends the pods and starts no new ones. */
  readonly suspendJob: (job: Seen, signal: AbortSignal) => Promise<Patched>
  /** Creates or updates a webhook configuration by server-side apply; our fields are taken back from whoever has them. */
  readonly applyWebhookConfiguration: (manifest: WebhookManifest, signal: AbortSignal) => Promise<Patched>
  /** `false` when there was none. */
  readonly deleteWebhookConfiguration: (
    kind: WebhookConfigurationKind,
    name: string,
    signal: AbortSignal,
  ) => Promise<boolean>
}

export interface WebhookManifest {
  readonly apiVersion: string
  readonly kind: WebhookConfigurationKind
  readonly metadata: { readonly name: string }
}

/** Everything the Job says about us is below this prefix. */
const OUR_PREFIX = 'prefect-lifeguard.dev/'

const WEBHOOKS: Readonly<Record<WebhookConfigurationKind, Resource>> = {
  MutatingWebhookConfiguration: MUTATING_WEBHOOKS,
  ValidatingWebhookConfiguration: VALIDATING_WEBHOOKS,
}

export function createWrites(access: Pick<Access, 'request'>): Writes {
  const objects = createObjects(access)
  return {
    annotateJob: async (job, annotations, signal) => annotate(objects, { job, annotations }, signal),
    addToJob: async (metadata, additions, signal) =>
      add(objects, { resource: JOBS, metadata, additions }, signal),
    addToPod: async (metadata, additions, signal) =>
      add(objects, { resource: PODS, metadata, additions }, signal),
    suspendJob: async ({ uid, ...place }, signal) => {
      const annotations = { [SUSPENDED_BY_US_ANNOTATION]: 'true' }
      const body = { metadata: { uid, annotations }, spec: { suspend: true } }
      return objects.patch({ resource: JOBS, ...place }, { type: 'merge', body }, signal)
    },
    applyWebhookConfiguration: async (manifest, signal) => {
      const at = { resource: WEBHOOKS[manifest.kind], name: manifest.metadata.name }
      return objects.patch(at, { type: 'apply', body: manifest, force: true }, signal)
    },
    deleteWebhookConfiguration: async (kind, name, signal) =>
      objects.remove({ resource: WEBHOOKS[kind], name }, signal),
  }
}

async function annotate(
  objects: Objects,
  { job, annotations }: { readonly job: Seen; readonly annotations: Readonly<Record<string, string>> },
  signal: AbortSignal,
): Promise<Patched> {
  const foreign = Object.keys(annotations).find(name => !name.startsWith(OUR_PREFIX))
  if (foreign !== undefined)
    throw new TypeError(`${foreign}: only annotations under ${OUR_PREFIX} are ours to write`)
  const body = { apiVersion: 'batch/v1', kind: 'Job', metadata: { ...job, annotations } }
  return objects.patch(
    { resource: JOBS, namespace: job.namespace, name: job.name },
    { type: 'apply', body },
    signal,
  )
}

interface Addition {
  readonly resource: Resource
  readonly metadata: ObjectMeta
  readonly additions: Additions
}

async function add(
  objects: Objects,
  { resource, metadata, additions }: Addition,
  signal: AbortSignal,
): Promise<Patched | 'unchanged'> {
  const labels = lacking(metadata.labels, additions.labels ?? {})
  const annotations = lacking(metadata.annotations, additions.annotations ?? {})
  if (Object.keys({ ...labels, ...annotations }).length === 0) return 'unchanged'
  const { namespace, name, uid, resourceVersion } = metadata
  const place: Place = { namespace, name }
  const body = { metadata: { uid, resourceVersion, labels, annotations } }
  return objects.patch({ resource, ...place }, { type: 'merge', body }, signal)
}

const lacking = (
  present: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): Record<string, string> =>
  Object.fromEntries(Object.entries(wanted).filter(([name]) => !Object.hasOwn(present, name)))
