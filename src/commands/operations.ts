import type { FastifyInstance } from 'fastify'
import type { Probes } from '../admission/probes.ts'
import { createOperationsServer } from '../operations/server.ts'
import { statusPage } from '../operations/status-page.ts'
import type { Check } from '../operations/status-report.ts'
import type { CertificateSource } from './certificate-source.ts'
import type { Foundation } from './foundation.ts'
import type { Observation } from './observation.ts'
import { modeOf, prefectCheck, seldom } from './status.ts'

/** What there is to tell about a running process. */
export interface Running {
  readonly observation: Pick<Observation, 'liveness' | 'information' | 'status'>
  readonly certificates: Pick<CertificateSource, 'readiness'>
  /** Undefined until there is a server to look at. */
  readonly probes: () => Probes | undefined
  /** Whether the API server calls us for the canary. */
  readonly hasCanary: boolean
}

/** Until there is a certificate to listen with. */
const STARTING = { ok: false, detail: 'waits for its certificate' }

/** The operations port of a process that runs until the signal aborts. */
export function operationsOf(
  { config, registry }: Pick<Foundation, 'config' | 'registry'>,
  { observation, certificates, probes, hasCanary }: Running,
  signal: AbortSignal,
): FastifyInstance {
  const since = Date.now()
  const readiness = (): readonly Check[] => [
    { name: 'admission', ...(probes()?.status('tls') ?? STARTING) },
    { name: 'shutdown', ok: !signal.aborted, detail: signal.aborted ? 'stopping' : 'not asked for' },
    ...certificates.readiness(),
  ]
  const canary = (): readonly Check[] =>
    hasCanary ? [{ name: 'way to the webhook', ...(probes()?.status('canary') ?? STARTING) }] : []
  const page = async (): Promise<string> =>
    statusPage({
      ...observation.status(),
      now: Date.now(),
      since,
      identity: config.identity,
      mode: modeOf(config.verdict),
      parts: [
        ...readiness(),
        ...canary(),
        await prefectCheck(registry),
        ...observation.liveness(),
        ...observation.information(),
      ],
    })
  return createOperationsServer({
    registry,
    liveness: observation.liveness,
    readiness,
    information: observation.information,
    page: seldom(page, Date.now),
  })
}
