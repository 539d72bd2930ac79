import { z } from 'zod'

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

const absent = <T>(value: T | null | undefined): T | undefined => value ?? undefined

type Strings = Readonly<Record<string, string>>

/** One look at a map as it is: zod's record would parse and copy each of a pod's dozens of labels. */
const strings = z.custom<Strings>(isMapOfStrings, 'expected a map of strings').nullish().transform(absent)

function isMapOfStrings(value: unknown): value is Strings {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every(item => typeof item === 'string')
}

const metadataSchema = z
  .object({ labels: strings, annotations: strings, finalizers: z.array(z.string()).nullish() })
  .transform(({ labels, annotations, finalizers }): Metadata => ({
    labels,
    annotations,
    finalizers: finalizers ?? [],
  }))

/** A Pod or a Lease: only its metadata matters. */
const objectSchema = z.object({ metadata: metadataSchema })

const jobSchema = z
  .object({
    metadata: metadataSchema,
    spec: z
      .object({
        template: z
          .object({ metadata: metadataSchema.nullish().transform(absent) })
          .nullish()
          .transform(absent),
      })
      .nullish(),
  })
  .transform(({ metadata, spec }): AdmittedObject =>
    spec?.template === undefined ? { metadata } : { metadata, template: spec.template },
  )

const reviewSchema = z.object({
  apiVersion: z.literal(API_VERSION),
  kind: z.literal('AdmissionReview'),
  request: z.object({
    uid: z.string().min(1),
    kind: z.object({ group: z.string(), version: z.string(), kind: z.string() }),
    subResource: z.string().nullish(),
    operation: z.string().min(1),
    userInfo: z.object({ username: z.string().nullish() }).nullish(),
    dryRun: z.boolean().nullish(),
    namespace: z.string().nullish(),
    name: z.string().nullish(),
    object: z.unknown().optional(),
    oldObject: z.unknown().optional(),
  }),
})

type Request = z.infer<typeof reviewSchema>['request']

/**
 * Reads the body of an admission request.
 * Throws a `MalformedReviewError` naming the field; the objects are looked into only where we serve them, so that a
 * kind we have never heard of passes, whatever is in it.
 */
export function parseReview(body: unknown): Review {
  const { request } = parse(reviewSchema, body, [])
  const kind = servedKind(request)
  const review: Review = {
    uid: request.uid,
    kind,
    operation: request.operation,
    username: request.userInfo?.username ?? '',
    dryRun: request.dryRun ?? false,
    namespace: absent(request.namespace),
    name: absent(request.name),
  }
  return { ...review, ...objectsOf(request, kind) }
}

/** `subResource` is empty or absent for the object itself. */
function servedKind({ kind: { group, kind }, subResource }: Request): Review['kind'] {
  if (subResource) return 'other'
  if (group === 'batch' && kind === 'Job') return 'Job'
  if (group === '' && kind === 'Pod') return 'Pod'
  if (group === 'coordination.k8s.io' && kind === 'Lease') return 'Lease'
  return 'other'
}

function objectsOf(request: Request, kind: Review['kind']): Pick<Review, 'object' | 'oldObject'> {
  if (kind === 'other') return {}
  const schema = kind === 'Job' ? jobSchema : objectSchema
  return {
    ...(isPresent(request.object) && { object: parse(schema, request.object, ['request', 'object']) }),
    ...(isPresent(request.oldObject) && {
      oldObject: parse(schema, request.oldObject, ['request', 'oldObject']),
    }),
  }
}

const isPresent = (value: unknown): boolean => value !== undefined && value !== null

function parse<T>(schema: z.ZodType<T>, value: unknown, path: readonly string[]): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  // One is enough: the others are mostly about the same.
  const issues = result.error.issues.slice(0, 1)
  const field = [...path, ...issues.flatMap(issue => issue.path)].join('.')
  throw new MalformedReviewError(field === '' ? 'body' : field, issues.map(issue => issue.message).join())
}
