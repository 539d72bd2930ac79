import { isIP } from 'node:net'
import { z } from 'zod'
import { createLocalCertificates } from '../certificates/local.ts'
import type { Access } from '../kubernetes/http/access.ts'
import { createObjects } from '../kubernetes/objects.ts'
import { LEASES } from '../kubernetes/paths.ts'
import type { Foundation } from './foundation.ts'
import { createRegistration, readManifests } from './registration.ts'
import type { ServeOptions } from './serve.ts'
import { serve } from './serve.ts'

export interface DevOptions {
  /** Under which address the API server reaches this machine. */
  readonly host: string
  /** Folder of the certificates; made where missing. */
  readonly certificateDir: URL
}

/** An API server that does not answer while we stop must not keep us. */
const REMOVAL_MS = 10_000

/** Under which name we look at ourselves, whatever the API server calls us. */
const SERVERNAME = 'localhost'

/** What holds here where nothing is set: no Service, no namespace of our own, and somebody is watching. */
export const DEV_ENVIRONMENT = {
  LIFEGUARD_NAMESPACE: 'default',
  LIFEGUARD_SERVICE: 'prefect-lifeguard-dev',
  LIFEGUARD_LOG_FORMAT: 'pretty',
  LIFEGUARD_DRAIN: '0s',
} as const

/**
 * The same process on this machine, against the current kubeconfig: certificates under certs/, the webhooks
 * registered by URL for as long as it runs.
 */
export async function dev(
  foundation: Foundation,
  { host, certificateDir }: DevOptions,
  signal: AbortSignal,
): Promise<void> {
  const { kubernetes, access, config, logger } = foundation
  const names =
    isIP(host) === 0 ? { dnsNames: [SERVERNAME, host] } : { dnsNames: [SERVERNAME], ipAddresses: [host] }
  const certificates = await createLocalCertificates(certificateDir.pathname, names)
  const registration = createRegistration(kubernetes, await readManifests())
  const options: ServeOptions = {
    username: await usernameOf(access, signal),
    certificates: {
      servername: SERVERNAME,
      start: () => Promise.resolve(certificates),
      readiness: () => [{ name: 'certificate', ok: true, detail: certificateDir.pathname }],
    },
    registration: {
      add: async port => {
        const base = `https://${isIP(host) === 6 ? `[${host}]` : host}:${port}`
        await registration.apply({ base, caBundle: certificates.caBundle }, signal)
        logger.info({ base }, 'registered the webhooks; Ctrl-C takes them away again')
      },
      remove: async () => {
        await registration.remove(AbortSignal.timeout(REMOVAL_MS))
        logger.info('took the registration of the webhooks away')
      },
      forget: async () => {
        const { namespace, service: name } = config
        await createObjects(access).remove(
          { resource: LEASES, namespace, name },
          AbortSignal.timeout(REMOVAL_MS),
        )
      },
    },
  }
  await serve(foundation, options, signal)
}

const selfReviewSchema = z.object({ status: z.object({ userInfo: z.object({ username: z.string() }) }) })

/** As whom the kubeconfig makes us known; everybody may ask. Source: kubernetes.io, SelfSubjectReview. */
const usernameOf = (access: Access, signal: AbortSignal): Promise<string> =>
  access.request({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
    signal,
    parse: answer => selfReviewSchema.parse(answer).status.userInfo.username,
  })
