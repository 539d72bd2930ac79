import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { Agent, request } from 'undici'
import { parseAllDocuments } from 'yaml'
import type { AdmissionServer } from '../../src/admission/server.ts'
import { createAuthority, signLeaf } from '../../src/certificates/authority.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'

const MANIFEST = new URL('../../manifests/base/webhooks.yaml', import.meta.url)

/** The Service of the manifest; the apiserver expects its DNS name in our certificate. */
export const SERVICE = { namespace: 'prefect-lifeguard', name: 'prefect-lifeguard' }
export const DNS_NAME = `${SERVICE.name}.${SERVICE.namespace}.svc`

const HOUR = 60 * 60 * 1000

/** An authority and a leaf for our Service, good for an hour. */
export async function certificates() {
  const life = { notBefore: new Date(Date.now() - HOUR), notAfter: new Date(Date.now() + HOUR) }
  const authority = await createAuthority(life)
  return { authority, leaf: await signLeaf({ authority, dnsNames: [DNS_NAME], ...life }) }
}

interface Metadata {
  readonly name: string
  readonly resourceVersion: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
}

interface Answered {
  readonly kind?: string
  readonly message?: string
  readonly metadata: Metadata
  readonly spec: { readonly template: { readonly metadata: Metadata } }
  readonly items: readonly Answered[]
}

export interface Answer {
  readonly status: number
  readonly body: Answered
  /** The texts of the `Warning` headers. */
  readonly warnings: readonly string[]
}

interface Asked {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly path: string
  readonly body?: unknown
  /** Of a PATCH; a merge where absent. */
  readonly contentType?: string
  /** Who does it; the administrator where absent. */
  readonly as?: string
}

export type Ask = (asked: Asked) => Promise<Answer>

/** The API with what test/cluster's client does not show: status codes, warnings, other users. */
export function clientOf({ server, ca, token }: Pick<ControlPlane, 'server' | 'ca' | 'token'>) {
  const dispatcher = new Agent({ connect: { ca } })
  const ask: Ask = async ({ method = 'GET', path, body, contentType, as }) => {
    const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json'
    const user = as === undefined ? {} : { 'impersonate-user': as, 'impersonate-group': 'system:masters' }
    const answer = await request(server + path, {
      dispatcher,
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': contentType ?? type, ...user },
      body: body === undefined ? null : JSON.stringify(body),
    })
    const warnings = [answer.headers['warning'] ?? []]
      .flat()
      .flatMap(header => header.match(/(?<=299 - ").*(?=")/) ?? [])
    return { status: answer.statusCode, body: (await answer.body.json()) as Answered, warnings }
  }
  return { ask, close: () => dispatcher.destroy() }
}

/**
 * Registers the webhooks of the manifest, as users do, for something that listens on this machine: Service
 * prefect-lifeguard is made an ExternalName for localhost, so that the apiserver calls us as it does behind a Service.
 * Without `caBundle` that is left to a keeper of certificates.
 */
export async function registerWebhooks(
  ask: Ask,
  { port, caBundle }: { port: number; caBundle?: string },
): Promise<void> {
  await made(
    ask({ method: 'POST', path: '/api/v1/namespaces', body: { metadata: { name: SERVICE.namespace } } }),
  )
  const spec = { type: 'ExternalName', externalName: 'localhost' }
  const path = `/api/v1/namespaces/${SERVICE.namespace}/services`
  await made(ask({ method: 'POST', path, body: { metadata: { name: SERVICE.name }, spec } }))
  for (const document of parseAllDocuments(await readFile(MANIFEST, 'utf8'))) {
    // Aliases are resolved to one shared object; JSON takes them apart.
    const configuration = JSON.parse(JSON.stringify(document.toJS())) as Configuration
    const trust = caBundle === undefined ? {} : { caBundle: Buffer.from(caBundle).toString('base64') }
    for (const { clientConfig } of configuration.webhooks)
      Object.assign(clientConfig, trust).service.port = port
    await made(ask({ method: 'POST', path: configurationsPath(configuration.kind), body: configuration }))
  }
}

interface Configuration {
  readonly kind: string
  readonly webhooks: readonly { readonly clientConfig: { service: { port: number }; caBundle?: string } }[]
}

export const configurationsPath = (kind: string): string =>
  `/apis/admissionregistration.k8s.io/v1/${kind.toLowerCase()}s`

async function made(answering: Promise<Answer>): Promise<void> {
  const { status, body } = await answering
  if (status !== 201 && status !== 409)
    throw new Error(`registering webhooks was answered ${status}: ${body.message}`)
}

/** Listens as `localhost` is resolved, on IPv4 and IPv6, and tells the port. */
export async function listen(server: AdmissionServer): Promise<number> {
  await server.listen({ host: 'localhost', port: 0 })
  return (server.server.address() as AddressInfo).port
}

const template = { restartPolicy: 'Never', containers: [{ name: 'prefect-job', image: 'flow:1' }] }

/** A Job of a run, as Prefect's worker makes one. */
export const jobOf = (flowRunId: string, name = 'child'): object => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { generateName: `${name}-`, labels: { 'prefect.io/flow-run-id': flowRunId } },
  spec: {
    backoffLimit: 0,
    template: { metadata: { labels: { 'prefect.io/flow-run-id': flowRunId } }, spec: template },
  },
})

/** A pod of a run without a Job. */
export const podOf = (flowRunId: string, metadata: object = {}): object => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { generateName: 'child-', labels: { 'prefect.io/flow-run-id': flowRunId }, ...metadata },
  spec: template,
})

export const JOBS = '/apis/batch/v1/namespaces/default/jobs'
export const PODS = '/api/v1/namespaces/default/pods'
