import { z } from 'zod'

/** A kind of object, where the API keeps it, and what tests and the node read of it. */
export interface Resource<T> {
  readonly apiVersion: string
  readonly kind: string
  readonly plural: string
  readonly namespaced: boolean
  /** Loose: what it does not name is kept as it came. */
  readonly schema: z.ZodType<T>
}

const strings = z.record(z.string(), z.string())

const metadataSchema = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  uid: z.string(),
  resourceVersion: z.string(),
  generation: z.number().optional(),
  creationTimestamp: z.string(),
  deletionTimestamp: z.string().optional(),
  deletionGracePeriodSeconds: z.number().optional(),
  labels: strings.optional(),
  annotations: strings.optional(),
  finalizers: z.array(z.string()).optional(),
  ownerReferences: z
    .array(
      z.looseObject({
        kind: z.string(),
        name: z.string(),
        uid: z.string(),
        controller: z.boolean().optional(),
      }),
    )
    .optional(),
})

const objectSchema = z.looseObject({ metadata: metadataSchema })
export type KubeObject = z.infer<typeof objectSchema>

const conditionSchema = z.looseObject({
  type: z.string(),
  status: z.string(),
  reason: z.string().optional(),
  message: z.string().optional(),
  lastTransitionTime: z.string().nullish(),
  observedGeneration: z.number().optional(),
})

const keyReference = z.looseObject({ name: z.string(), key: z.string(), optional: z.boolean().optional() })
const envSource = z.looseObject({ name: z.string(), optional: z.boolean().optional() })

const containerSchema = z.looseObject({
  name: z.string(),
  image: z.string().optional(),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  restartPolicy: z.string().optional(),
  terminationMessagePolicy: z.string().optional(),
  resources: z.looseObject({ limits: strings.optional(), requests: strings.optional() }).optional(),
  volumeMounts: z
    .array(z.looseObject({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().optional() }))
    .optional(),
  env: z
    .array(
      z.looseObject({
        name: z.string(),
        value: z.string().optional(),
        valueFrom: z
          .looseObject({
            fieldRef: z.looseObject({ fieldPath: z.string() }).optional(),
            secretKeyRef: keyReference.optional(),
            configMapKeyRef: keyReference.optional(),
          })
          .optional(),
      }),
    )
    .optional(),
  envFrom: z
    .array(
      z.looseObject({
        prefix: z.string().optional(),
        configMapRef: envSource.optional(),
        secretRef: envSource.optional(),
      }),
    )
    .optional(),
})
export type Container = z.infer<typeof containerSchema>

const terminatedSchema = z.looseObject({
  exitCode: z.number(),
  reason: z.string().optional(),
  message: z.string().optional(),
  startedAt: z.string().nullish(),
  finishedAt: z.string().nullish(),
  containerID: z.string().optional(),
})

const containerStateSchema = z.looseObject({
  waiting: z.looseObject({ reason: z.string().optional(), message: z.string().optional() }).optional(),
  running: z.looseObject({ startedAt: z.string().nullish() }).optional(),
  terminated: terminatedSchema.optional(),
})

const containerStatusSchema = z.looseObject({
  name: z.string(),
  state: containerStateSchema.default({}),
  lastState: containerStateSchema.default({}),
  ready: z.boolean(),
  restartCount: z.number(),
})

const podSchema = z.looseObject({
  metadata: metadataSchema,
  spec: z.looseObject({
    nodeName: z.string().optional(),
    restartPolicy: z.string().default('Always'),
    hostname: z.string().optional(),
    serviceAccountName: z.string().optional(),
    terminationGracePeriodSeconds: z.number().default(30),
    activeDeadlineSeconds: z.number().optional(),
    containers: z.array(containerSchema),
    initContainers: z.array(containerSchema).default([]),
    volumes: z
      .array(
        z.looseObject({
          name: z.string(),
          configMap: z.looseObject({ name: z.string(), optional: z.boolean().optional() }).optional(),
          secret: z.looseObject({ secretName: z.string(), optional: z.boolean().optional() }).optional(),
        }),
      )
      .default([]),
  }),
  status: z
    .looseObject({
      phase: z.string().optional(),
      reason: z.string().optional(),
      message: z.string().optional(),
      startTime: z.string().optional(),
      conditions: z.array(conditionSchema).default([]),
      initContainerStatuses: z.array(containerStatusSchema).default([]),
      containerStatuses: z.array(containerStatusSchema).default([]),
    })
    .default({ conditions: [], initContainerStatuses: [], containerStatuses: [] }),
})
export type Pod = z.infer<typeof podSchema>

const jobSchema = z.looseObject({
  metadata: metadataSchema,
  spec: z.looseObject({ backoffLimit: z.number().optional(), suspend: z.boolean().optional() }),
  status: z
    .looseObject({
      active: z.number().optional(),
      failed: z.number().optional(),
      succeeded: z.number().optional(),
      conditions: z.array(conditionSchema).default([]),
    })
    .default({ conditions: [] }),
})
export type Job = z.infer<typeof jobSchema>

const nodeSchema = z.looseObject({
  metadata: metadataSchema,
  spec: z.looseObject({
    taints: z.array(z.looseObject({ key: z.string(), effect: z.string() })).default([]),
  }),
  status: z.looseObject({ conditions: z.array(conditionSchema).default([]) }).default({ conditions: [] }),
})
export type Node = z.infer<typeof nodeSchema>

const eventSchema = z.looseObject({
  metadata: metadataSchema,
  type: z.string().optional(),
  reason: z.string().optional(),
  message: z.string().optional(),
  count: z.number().nullish(),
  involvedObject: z.looseObject({
    kind: z.string().optional(),
    name: z.string().optional(),
    uid: z.string().optional(),
  }),
})
export type Event = z.infer<typeof eventSchema>

const configMapSchema = z.looseObject({ metadata: metadataSchema, data: strings.default({}) })
/** Values are base64. */
const secretSchema = z.looseObject({ metadata: metadataSchema, data: strings.default({}) })

type Place = Omit<Resource<KubeObject>, 'schema'>

const core = (kind: string, plural: string): Place => ({ apiVersion: 'v1', kind, plural, namespaced: true })

export const pods: Resource<Pod> = { ...core('Pod', 'pods'), schema: podSchema }
export const events: Resource<Event> = { ...core('Event', 'events'), schema: eventSchema }
export const configMaps: Resource<z.infer<typeof configMapSchema>> = {
  ...core('ConfigMap', 'configmaps'),
  schema: configMapSchema,
}
export const secrets: Resource<z.infer<typeof secretSchema>> = {
  ...core('Secret', 'secrets'),
  schema: secretSchema,
}
export const nodes: Resource<Node> = { ...core('Node', 'nodes'), namespaced: false, schema: nodeSchema }
export const jobs: Resource<Job> = {
  apiVersion: 'batch/v1',
  kind: 'Job',
  plural: 'jobs',
  namespaced: true,
  schema: jobSchema,
}

/** Any other kind, of which only the metadata is known. */
export const anyResource = (place: Place): Resource<KubeObject> => ({ ...place, schema: objectSchema })

export const namespaces = anyResource({ ...core('Namespace', 'namespaces'), namespaced: false })
export const serviceAccounts = anyResource(core('ServiceAccount', 'serviceaccounts'))
export const leases = anyResource({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  plural: 'leases',
  namespaced: true,
})
