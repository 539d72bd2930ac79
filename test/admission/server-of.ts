import pino from 'pino'
import type { Logger } from 'pino'
import { Registry } from 'prom-client'
import { createAdmissionServer } from '../../src/admission/server.ts'
import type { AdmissionOptions, AdmissionServer } from '../../src/admission/server.ts'
import type { Parent, ParentOf } from '../../src/core/parent.ts'

export const FLOW_RUN_ID = '22222222-2222-4222-8222-222222222222'
export const PARENT_TASK_RUN_ID = '11111111-1111-4111-8111-111111111111'

/** Everybody's parent. */
export const subflow: ParentOf = async () => ({ kind: 'subflow', parentTaskRunId: PARENT_TASK_RUN_ID })

export const answering =
  (parent: Parent): ParentOf =>
  async () =>
    parent

/** A look-up that must not happen. */
export const unasked: ParentOf = async flowRunId => {
  throw new Error(`nobody should have asked for the parent of ${flowRunId}`)
}

export const hanging: ParentOf = () => Promise.withResolvers<Parent>().promise

export const refusing: ParentOf = async () => {
  throw new Error('connect ECONNREFUSED')
}

/** An admission server to inject requests into, and the lines it logs. */
export function serverOf(options: Partial<AdmissionOptions> = {}): {
  readonly server: AdmissionServer
  readonly registry: Registry
  readonly lines: Record<string, unknown>[]
} {
  const registry = new Registry()
  const { logger, lines } = recordingLogger()
  const server = createAdmissionServer({
    tls: undefined,
    parentOf: subflow,
    validation: 'warn',
    lookupDeadlineMs: 20,
    maxConcurrent: 100,
    logger,
    registry,
    ownUsername: 'system:serviceaccount:prefect-lifeguard:prefect-lifeguard',
    ...options,
  })
  return { server, registry, lines }
}

export function recordingLogger(): { readonly logger: Logger; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const logger = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  return { logger, lines }
}

/** An AdmissionReview as kube-apiserver sends it, `request` laid over it. */
export function reviewOf(object: object | undefined, request: Record<string, unknown> = {}): object {
  const { apiVersion = 'v1', kind = 'Pod', metadata } = { ...object } as Record<string, unknown>
  const [version = 'v1', group = ''] = String(apiVersion).split('/').toReversed()
  const { name, namespace = 'flows' } = { ...(metadata as object) } as Record<string, unknown>
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: '0df28fbd-5f5f-11e8-bc74-36e6bb280816',
      kind: { group, version, kind },
      resource: { group, version, resource: `${String(kind).toLowerCase()}s` },
      requestKind: { group, version, kind },
      requestResource: { group, version, resource: `${String(kind).toLowerCase()}s` },
      name,
      namespace,
      operation: 'CREATE',
      userInfo: { username: 'system:serviceaccount:flows:prefect-worker', groups: ['system:authenticated'] },
      object,
      oldObject: null,
      dryRun: false,
      options: { apiVersion: 'meta.k8s.io/v1', kind: 'CreateOptions' },
      ...request,
    },
  }
}

export interface Response {
  readonly uid: string
  readonly allowed: boolean
  readonly patchType?: string
  readonly patch?: string
  readonly warnings?: readonly string[]
  readonly auditAnnotations?: Readonly<Record<string, string>>
  readonly status?: { readonly code: number; readonly message: string }
}

/** Sends a review and returns the answer, which has to be one. */
export async function answerTo(server: AdmissionServer, path: '/mutate' | '/validate', review: object) {
  const { statusCode, body } = await server.inject({ method: 'POST', url: path, payload: review })
  if (statusCode !== 200) throw new Error(`${path} answered ${statusCode}: ${body}`)
  const answer = JSON.parse(body) as { apiVersion: string; kind: string; response: Response }
  return { ...answer, patch: patchIn(answer.response) }
}

function patchIn({ patch, patchType }: Response) {
  if (patch === undefined) return []
  if (patchType !== 'JSONPatch') throw new Error(`a patch of type ${patchType}`)
  return JSON.parse(Buffer.from(patch, 'base64').toString()) as { op: 'add'; path: string; value: unknown }[]
}

/** How often an outcome was counted. */
export async function outcomesIn(registry: Registry): Promise<Record<string, number>> {
  const metric = await registry.getSingleMetric('lifeguard_admission_outcomes_total')?.get()
  return Object.fromEntries((metric?.values ?? []).map(({ labels, value }) => [labels['outcome'], value]))
}
