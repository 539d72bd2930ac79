import { readFile, truncate, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import jsonPatch from 'fast-json-patch'
import type { Operation } from 'fast-json-patch'
import { z } from 'zod'
import { createAuthority, signLeaf } from '../../../src/certificates/authority.ts'
import { FINALIZER_FREE_ANNOTATION, PARENT_TASK_RUN_ID_LABEL } from '../../../src/core/names.ts'
import { eventually } from '../../cluster/api.ts'
import { startComponent } from '../../cluster/component.ts'
import type { ControlPlane } from '../../cluster/control-plane.ts'
import { createGuard } from '../../cluster/guard.ts'
import { findFreePort } from '../../cluster/ports.ts'
import { anyResource, namespaces } from '../../cluster/resources.ts'
import type { GoPrograms } from './build.ts'
import { PARENT_TASK_RUN_ID } from './prefect.ts'
import { podReview } from './reviews.ts'

/** Everybody who answers reviews, by what the tables call them. */
export const CONTESTANTS = ['bare node:https', 'prefect-lifeguard', 'controller-runtime', 'Pepr'] as const
export type ContestantName = (typeof CONTESTANTS)[number]

/** A webhook server as a process of its own, on the first core alone. */
export interface Contestant {
  readonly name: ContestantName
  readonly port: number
  /** Path of the mutating webhook. */
  readonly mutate: string
  readonly validate: string
  /** Seconds of CPU it has used so far, to 10 ms. */
  readonly cpuSeconds: () => Promise<number>
  /** Throws away what it has logged. */
  readonly forgetLog: () => Promise<void>
}

export interface Contestants extends AsyncDisposable {
  readonly all: Readonly<Record<ContestantName, Contestant>>
  /** Of the authority that signed their certificate, PEM. */
  readonly ca: string
}

export interface ContestantsOptions {
  /** Pepr keeps its store there. */
  readonly controlPlane: ControlPlane
  /** For certificates and logs. */
  readonly folder: string
  /** Of the Prefect API. */
  readonly prefect: string
  readonly go: GoPrograms
  readonly pepr: string
}

/** Part of the path of Pepr's webhooks: whoever does not know it is refused. */
const PEPR_PATH = 'bench'

const HOUR_MS = 3_600_000

/** Pepr takes up to three seconds before it looks for its store. */
const START_MS = 60_000

const customResourceDefinitions = anyResource({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  plural: 'customresourcedefinitions',
  namespaced: false,
})

/** Starts all of them. Resolves when each one answers; they end with this process at the latest. */
export async function startContestants(options: ContestantsOptions): Promise<Contestants> {
  const { folder, controlPlane } = options
  const ca = await writeCertificates(folder)
  await makeRoomForPepr(controlPlane)
  const guard = await createGuard()
  const started = await Promise.all(CONTESTANTS.map(name => start(name, options, guard)))
  const stop = async (): Promise<void> => {
    await Promise.all(started.map(({ stop }) => stop()))
    await guard.close()
  }
  try {
    await Promise.all(started.map(({ contestant }) => untilItAnswers(contestant)))
  } catch (error) {
    await stop()
    throw error
  }
  const all = Object.fromEntries(started.map(({ contestant }) => [contestant.name, contestant]))
  return { all: all as Record<ContestantName, Contestant>, ca, [Symbol.asyncDispose]: stop }
}

async function writeCertificates(folder: string): Promise<string> {
  const life = { notBefore: new Date(Date.now() - HOUR_MS), notAfter: new Date(Date.now() + HOUR_MS) }
  const authority = await createAuthority(life)
  const leaf = await signLeaf({ authority, dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'], ...life })
  await writeFile(join(folder, 'tls.crt'), leaf.cert)
  await writeFile(join(folder, 'tls.key'), leaf.key)
  return authority.cert
}

/** What Pepr's installation would bring: its namespace, and the type of its store. */
async function makeRoomForPepr({ api }: ControlPlane): Promise<void> {
  await api.create(namespaces, { metadata: { name: 'pepr-system' } })
  const schema = {
    type: 'object',
    properties: { data: { type: 'object', additionalProperties: { type: 'string' } } },
  }
  await api.create(customResourceDefinitions, {
    metadata: { name: 'peprstores.pepr.dev' },
    spec: {
      group: 'pepr.dev',
      scope: 'Namespaced',
      names: { plural: 'peprstores', singular: 'peprstore', kind: 'PeprStore' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: schema } }],
    },
  })
}

const programs = ({ go, pepr }: ContestantsOptions): Readonly<Record<ContestantName, readonly string[]>> => ({
  'bare node:https': [process.execPath, join(import.meta.dirname, 'bare.ts')],
  'prefect-lifeguard': [process.execPath, join(import.meta.dirname, 'lifeguard.ts')],
  'controller-runtime': [go.webhook],
  Pepr: [process.execPath, pepr],
})

async function start(
  name: ContestantName,
  options: ContestantsOptions,
  guard: Awaited<ReturnType<typeof createGuard>>,
) {
  const { folder, prefect, controlPlane } = options
  const port = await findFreePort()
  const logFile = join(folder, `${name.replaceAll(/\W/g, '-')}.log`)
  const component = await startComponent({
    name,
    command: ['taskset', '--cpu-list', '0', ...programs(options)[name]],
    args: ['--port', String(port), '--certificates', folder, '--prefect', prefect],
    env: {
      PATH: process.env['PATH'],
      HOME: process.env['HOME'],
      KUBECONFIG: controlPlane.kubeconfig,
      PEPR_API_PATH: PEPR_PATH,
      SSL_CERT_PATH: join(folder, 'tls.crt'),
      SSL_KEY_PATH: join(folder, 'tls.key'),
    },
    logFile,
    guard,
  })
  const suffix = name === 'Pepr' ? `/${PEPR_PATH}` : ''
  const contestant: Contestant = {
    name,
    port,
    mutate: `/mutate${suffix}`,
    validate: `/validate${suffix}`,
    cpuSeconds: () => cpuSecondsOf(component.pid),
    forgetLog: () => truncate(logFile),
  }
  return { contestant, stop: component.stop }
}

/** `taskset` becomes the program it starts, so the process is the contestant itself. Source: proc_pid_stat(5). */
async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

/** USER_HZ: 100 on every Linux Node runs on. */
const TICKS_PER_SECOND = 100

/** Throws where it does not answer a review as the others do, within a minute. */
async function untilItAnswers({ name, port, mutate }: Contestant): Promise<void> {
  const review = await podReview(0)
  await eventually(() => labelsIn(review, { port, path: mutate }), {
    what: `${name} to label a pod`,
    until: ({ labels, annotations }) =>
      labels?.[PARENT_TASK_RUN_ID_LABEL] === PARENT_TASK_RUN_ID &&
      annotations?.[FINALIZER_FREE_ANNOTATION] === 'true',
    timeoutMs: START_MS,
  })
}

/** The metadata of a review's object as it is after the patch. */
async function labelsIn(
  review: string,
  to: { readonly port: number; readonly path: string },
): Promise<Metadata> {
  const { response } = answerSchema.parse(JSON.parse(await post(review, to)))
  const patch = JSON.parse(Buffer.from(response.patch, 'base64').toString()) as Operation[]
  const { request } = reviewSchema.parse(JSON.parse(review))
  return reviewSchema.parse({ request: { object: jsonPatch.applyPatch(request.object, patch).newDocument } })
    .request.object.metadata
}

const answerSchema = z.object({ response: z.object({ patch: z.string() }) })
const strings = z.record(z.string(), z.string()).optional()
const metadataSchema = z.looseObject({ labels: strings, annotations: strings })
type Metadata = z.infer<typeof metadataSchema>
const reviewSchema = z.object({
  request: z.object({ object: z.looseObject({ metadata: metadataSchema }) }),
})

const post = (
  body: string,
  { port, path }: { readonly port: number; readonly path: string },
): Promise<string> =>
  new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const options = {
      host: '127.0.0.1',
      port,
      path,
      method: 'POST',
      headers,
      rejectUnauthorized: false,
      agent: false,
    }
    request(options, answer => void text(answer).then(resolve, reject))
      .once('error', reject)
      .end(body)
  })
