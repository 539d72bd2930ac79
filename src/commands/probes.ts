import { randomUUID } from 'node:crypto'
import { createCanary } from '../admission/canary.ts'
import type { Probes } from '../admission/probes.ts'
import { createProbes } from '../admission/probes.ts'
import { createTlsAttempt } from '../admission/tls-attempt.ts'
import { collectionPath, LEASES } from '../kubernetes/paths.ts'
import type { Foundation } from './foundation.ts'

/** Often enough for a readiness probe, rarely enough to cost nothing. */
const EVERY_MS = 10_000
const DEADLINE_MS = 5000

/** A local address that reaches a server which listens on all of them. */
const HERE = '127.0.0.1'

export interface ProbedServer {
  readonly port: number
  /** A name that the certificate has to hold. */
  readonly servername: string
  /** Whether the API server calls us for the canary: only as installed, behind our Service. */
  readonly hasCanary: boolean
}

/**
 * Looks at ourselves from outside: `tls`, whether our port shows a good certificate, for readiness; `canary`, whether
 * an object goes through the API server and one of us, for metrics and log: one broken registration must not take
 * every replica out.
 */
export function probesOf(foundation: Foundation, { port, servername, hasCanary }: ProbedServer): Probes {
  const { logger, registry } = foundation
  const tls = createTlsAttempt({ host: HERE, port, servername, now: () => new Date() })
  const canary = canaryOf(foundation)
  return createProbes({
    attempts: hasCanary ? { tls, canary } : { tls },
    everyMs: EVERY_MS,
    deadlineMs: DEADLINE_MS,
    now: () => new Date(),
    logger,
    registry,
  })
}

/** A question that goes through the API server to some replica and back, and leaves nothing behind. */
export const canaryOf = ({ access, config: { namespace } }: Pick<Foundation, 'access' | 'config'>) =>
  createCanary({
    namespace,
    nonce: randomUUID,
    dryRunCreate: (lease, signal) =>
      access.request({
        method: 'POST',
        path: collectionPath(LEASES, namespace),
        query: { dryRun: 'All' },
        body: lease,
        signal,
        parse: answer => answer,
      }),
  })
