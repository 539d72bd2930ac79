/** The only version served: `v1beta1` left Kubernetes with 1.22. */
export const API_VERSION = 'admission.k8s.io/v1'

/** Labels, annotations and finalizers of one object; what is absent or null on the wire is undefined here. */
export interface Metadata {
  readonly labels: Readonly<Record<string, string>> | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
  readonly finalizers: readonly string[]
}

/** A Job or a Pod, as far as admission reads it. */
export interface AdmittedObject {
  readonly metadata: Metadata
  /** The pod template, Jobs only. Its metadata may be absent. */
  readonly template?: { readonly metadata: Metadata | undefined }
}

/** One question of the apiserver. */
export interface Review {
  readonly uid: string
  /**
   * A Lease is our canary. `other` is everything we do not serve: other kinds, and every subresource, ephemeral
   * containers among them.
   */
  readonly kind: 'Job' | 'Pod' | 'Lease' | 'other'
  readonly operation: string
  readonly username: string
  readonly dryRun: boolean
  readonly namespace: string | undefined
  readonly name: string | undefined
  readonly object?: AdmittedObject
  readonly oldObject?: AdmittedObject
}

/** A review that is not what `admission.k8s.io/v1` says. `field` is the path of what is wrong in it. */
export class MalformedReviewError extends Error {
  override readonly name = 'MalformedReviewError'
  readonly statusCode = 400
  readonly field: string

  constructor(field: string, problem: string) {
    super(
      `AdmissionReview: ${field}: ${problem}. Send an ${API_VERSION} AdmissionReview as kube-apiserver does.`,
    )
    this.field = field
  }
}

/**
 * Reads the body of an admission request.
 * Throws a `MalformedReviewError` naming the field; the objects are looked into only where we serve them, so that a
 * kind we have never heard of passes, whatever is in it.
 */
export function parseReview(body: unknown): Review {
  const review = fields(body, 'body')
  apiVersion(review['apiVersion'], 'apiVersion')
  reviewKind(review['kind'], 'kind')
  const request = fields(review['request'], 'request')
  const uid = someText(request['uid'], 'request.uid')
  const kind = servedKind(request)
  return {
    uid,
    kind,
    operation: someText(request['operation'], 'request.operation'),
    username: usernameOf(request['userInfo'], 'request.userInfo') ?? '',
    dryRun: optionalFlag(request['dryRun'], 'request.dryRun') ?? false,
    namespace: optionalText(request['namespace'], 'request.namespace'),
    name: optionalText(request['name'], 'request.name'),
    ...objectsOf(request, kind),
  }
}

/** `subResource` is empty or absent for the object itself. */
function servedKind(request: Fields): Review['kind'] {
  const whole = fields(request['kind'], 'request.kind')
  const group = text(whole['group'], 'request.kind.group')
  text(whole['version'], 'request.kind.version')
  const kind = text(whole['kind'], 'request.kind.kind')
  if (optionalText(request['subResource'], 'request.subResource')) return 'other'
  if (group === 'batch' && kind === 'Job') return 'Job'
  if (group === '' && kind === 'Pod') return 'Pod'
  if (group === 'coordination.k8s.io' && kind === 'Lease') return 'Lease'
  return 'other'
}

function objectsOf(request: Fields, kind: Review['kind']): Pick<Review, 'object' | 'oldObject'> {
  if (kind === 'other') return {}
  const read = kind === 'Job' ? optionalJob : optionalObject
  const object = read(request['object'], 'request.object')
  const oldObject = read(request['oldObject'], 'request.oldObject')
  return { ...(object && { object }), ...(oldObject && { oldObject }) }
}

/** A JSON object, its fields not looked at yet. */
type Fields = Readonly<Record<string, unknown>>

/**
 * Gives a value back as what it has to be, or throws a `MalformedReviewError`. By hand: every review comes this way,
 * and a schema takes as long as everything we decide about it.
 */
type Read<T> = (value: unknown, field: string) => T

const reading =
  <T>(what: string, is: (value: unknown) => value is T): Read<T> =>
  (value, field) => {
    if (is(value)) return value
    throw new MalformedReviewError(field, `expected ${what}, received ${typeOf(value)}`)
  }

/** What is absent or null on the wire is undefined here. */
const optional =
  <T>(read: Read<T>): Read<T | undefined> =>
  (value, field) =>
    value === undefined || value === null ? undefined : read(value, field)

const literally =
  <T extends string>(expected: T): Read<T> =>
  (value, field) => {
    if (value === expected) return expected
    throw new MalformedReviewError(field, `expected "${expected}"`)
  }

const isText = (value: unknown): value is string => typeof value === 'string'

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const apiVersion = literally(API_VERSION)
const reviewKind = literally('AdmissionReview')
const text = reading('a string', isText)
const someText = reading(
  'a string that is not empty',
  (value): value is string => isText(value) && value !== '',
)
const optionalText = optional(text)
const optionalFlag = optional(reading('a boolean', value => typeof value === 'boolean'))
const fields = reading('an object', isFields)
const optionalFields = optional(fields)

const optionalStrings = optional(
  reading(
    'a map of strings',
    (value): value is Readonly<Record<string, string>> =>
      isFields(value) && Object.values(value).every(isText),
  ),
)

const optionalTexts = optional(
  reading(
    'a list of strings',
    (value): value is readonly string[] => Array.isArray(value) && value.every(isText),
  ),
)

const usernameOf = optional((value, field) =>
  optionalText(fields(value, field)['username'], `${field}.username`),
)

const metadataOf: Read<Metadata> = (value, field) => {
  const { labels, annotations, finalizers } = fields(value, field)
  return {
    labels: optionalStrings(labels, `${field}.labels`),
    annotations: optionalStrings(annotations, `${field}.annotations`),
    finalizers: optionalTexts(finalizers, `${field}.finalizers`) ?? [],
  }
}

/** A Pod or a Lease: only its metadata matters. */
const optionalObject = optional((value, field): AdmittedObject => ({
  metadata: metadataOf(fields(value, field)['metadata'], `${field}.metadata`),
}))

const optionalJob = optional((value, field): AdmittedObject => {
  const job = fields(value, field)
  const metadata = metadataOf(job['metadata'], `${field}.metadata`)
  const spec = optionalFields(job['spec'], `${field}.spec`)
  const template = optionalFields(spec?.['template'], `${field}.spec.template`)
  if (template === undefined) return { metadata }
  return {
    metadata,
    template: { metadata: optionalMetadata(template['metadata'], `${field}.spec.template.metadata`) },
  }
})

const optionalMetadata = optional(metadataOf)

const typeOf = (value: unknown): string => {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'a list' : typeof value
}
