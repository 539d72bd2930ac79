import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { AdmissionServer } from '../admission/server.ts'
import type { Probes } from '../admission/probes.ts'
import { createAdmissionServer } from '../admission/server.ts'
import { collectProcessMetrics } from '../operations/event-loop.ts'
import { createOperationsServer } from '../operations/server.ts'
import type { CertificateSource } from './certificate-source.ts'
import type { Foundation } from './foundation.ts'
import { createObservation } from './observation.ts'
import { probesOf } from './probes.ts'

export interface ServeOptions {
  readonly certificates: CertificateSource
  /** For a process outside the cluster: called when both servers listen, with the port of admission. */
  readonly onListening?: (port: number) => Promise<void>
  /** Called before the servers close. */
  readonly onStopping?: () => Promise<void>
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
  const operations = createOperationsServer({
    registry,
    liveness: observation.liveness,
    readiness: () => [
      { name: 'admission', ...(started.probes?.status('tls') ?? STARTING) },
      { name: 'shutdown', ok: !signal.aborted, detail: signal.aborted ? 'stopping' : 'not asked for' },
      ...options.certificates.readiness(),
    ],
    information: observation.information,
  })
  await operations.listen({ host: config.host, port: config.operationsPort })
  const observing = observation.run(signal)
  const admission = await startAdmission(foundation, options.certificates, signal)
  started.probes = probesOf(foundation, {
    port: portOf(admission),
    servername: options.certificates.servername,
    hasCanary: options.onListening === undefined,
  })
  const working = Promise.all([observing, started.probes.start(signal)])
  logger.info({ admission: portOf(admission), operations: portOf(operations) }, 'listening')
  await options.onListening?.(portOf(admission))
  await Promise.race([aborted(signal), working])
  await stop({ foundation, options, admission, operations, working })
}

/** Until there is a certificate to listen with. */
const STARTING = { ok: false, detail: 'waits for its certificate' }

async function startAdmission(
  { config, prefect, logger, registry }: Foundation,
  certificates: CertificateSource,
  signal: AbortSignal,
): Promise<AdmissionServer> {
  const { validation, lookupDeadline, maxConcurrent, port } = config.admission
  let server: AdmissionServer | undefined
  const tls = await certificates.start(leaf => server?.useCertificate(leaf), signal)
  server = createAdmissionServer({
    tls,
    parentOf: prefect.parentOf,
    validation,
    lookupDeadlineMs: lookupDeadline,
    maxConcurrent,
    logger,
    registry,
    ownUsername: `system:serviceaccount:${config.namespace}:${config.service}`,
  })
  await server.listen({ host: config.host, port })
  return server
}

interface Running {
  readonly foundation: Foundation
  readonly options: ServeOptions
  readonly admission: AdmissionServer
  readonly operations: FastifyInstance
  readonly working: Promise<unknown>
}

async function stop({ foundation, options, admission, operations, working }: Running): Promise<void> {
  const { config, logger } = foundation
  logger.info({ drainMs: config.admission.drain }, 'stopping: serving on while the API server lets go')
  admission.drain()
  await Promise.all([options.onStopping?.(), sleep(config.admission.drain), working])
  await admission.close()
  await operations.close()
  await foundation.close()
  logger.info('stopped')
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })

function portOf(server: FastifyInstance): number {
  const address: AddressInfo | string | null = server.server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}
