import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { AdmissionServer } from '../admission/server.ts'
import type { Probes } from '../admission/probes.ts'
import { createAdmissionServer } from '../admission/server.ts'
import { readClientCa } from '../certificates/client-ca.ts'
import { collectProcessMetrics } from '../operations/event-loop.ts'
import type { CertificateSource } from './certificate-source.ts'
import type { Foundation } from './foundation.ts'
import { createObservation } from './observation.ts'
import { operationsOf } from './operations.ts'
import { probesOf } from './probes.ts'

export interface ServeOptions {
  readonly certificates: CertificateSource
  /** As whom the API server knows us, where that is not the installed service account. */
  readonly username?: string
  /** Of a process outside the cluster; as installed, a Service is registered by the manifests. */
  readonly registration?: OwnRegistration
}

/** What a process outside the cluster adds to it for as long as it runs. */
interface OwnRegistration {
  /** Has the API server call us, at this port. */
  readonly add: (port: number, signal: AbortSignal) => Promise<void>
  readonly remove: () => Promise<void>
  /** Removes what the observer's work needed, once that has ended. */
  readonly forget: () => Promise<void>
}

/**
 * Runs both halves until the signal aborts, then stops in order: not ready any more, admission serves on while the
 * API server lets go of its connections, the observer finishes what it is at and gives the lease back, and only
 * then the servers close.
 */
export async function serve(
  foundation: Foundation,
  options: ServeOptions,
  signal: AbortSignal,
): Promise<void> {
  const { config, logger, registry } = foundation
  collectProcessMetrics(registry)
  const observation = createObservation(foundation)
  const started: { probes?: Probes } = {}
  const { certificates, registration } = options
  const hasCanary = registration === undefined
  const running = { observation, certificates, probes: () => started.probes, hasCanary }
  const operations = operationsOf(foundation, running, signal)
  await listen(operations, config.host, config.operationsPort)
  const working = [observation.run(signal)]
  let admission: AdmissionServer | undefined
  try {
    admission = await startAdmission(foundation, options, signal)
    const port = portOf(admission)
    const { servername } = certificates
    started.probes = probesOf(foundation, { port, servername, hasCanary })
    working.push(started.probes.start(signal))
    logger.info({ admission: port, operations: portOf(operations) }, 'listening')
    await registration?.add(port, signal)
    await Promise.race([aborted(signal), ...working])
  } catch (error) {
    // Called off while it started: what had started is stopped like everything else.
    if (!signal.aborted) throw error
  }
  await stop({ foundation, options, admission, operations, working })
}

async function startAdmission(
  { config, prefect, logger, registry }: Foundation,
  { certificates, username = serviceAccountOf(config) }: ServeOptions,
  signal: AbortSignal,
): Promise<AdmissionServer> {
  const { validation, lookupDeadline, maxConcurrent, port, clientCaFile } = config.admission
  let server: AdmissionServer | undefined
  const clientCa = clientCaFile === undefined ? undefined : await readClientCa(clientCaFile)
  const tls = await certificates.start(leaf => server?.useCertificate(leaf), signal)
  server = createAdmissionServer({
    tls,
    parentOf: prefect.parentOf,
    validation,
    lookupDeadlineMs: lookupDeadline,
    maxConcurrent,
    logger,
    registry,
    ownUsername: username,
    clientCa,
  })
  await listen(server, config.host, port)
  return server
}

/** Source: kubernetes.io, "Authenticating", service account tokens. */
const serviceAccountOf = ({ namespace, service }: Foundation['config']): string =>
  `system:serviceaccount:${namespace}:${service}`

interface Running {
  readonly foundation: Foundation
  readonly options: ServeOptions
  readonly admission: AdmissionServer | undefined
  readonly operations: FastifyInstance
  readonly working: readonly Promise<void>[]
}

async function stop({ foundation, options, admission, operations, working }: Running): Promise<void> {
  const { config, logger } = foundation
  logger.info({ drainMs: config.admission.drain }, 'stopping: serving on while the API server lets go')
  admission?.drain()
  await Promise.all([options.registration?.remove(), sleep(config.admission.drain), ...working])
  await options.registration?.forget()
  await admission?.close()
  await operations.close()
  await foundation.close()
  logger.info('stopped')
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

const ANY_IPV6 = '::'
const ANY_IPV4 = '0.0.0.0'

/** `::` takes both families; where the kernel has no IPv6 there is only the other one. */
async function listen(server: FastifyInstance, host: string, port: number): Promise<void> {
  try {
    await server.listen({ host, port })
  } catch (error) {
    const hasNoIpv6 = error instanceof Error && 'code' in error && error.code === 'EAFNOSUPPORT'
    if (host !== ANY_IPV6 || !hasNoIpv6) throw error
    await server.listen({ host: ANY_IPV4, port })
  }
}

function portOf(server: FastifyInstance): number {
  const address: AddressInfo | string | null = server.server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
