import { KubeConfig } from '@kubernetes/client-node'
import type { Logger } from 'pino'
import { Registry } from 'prom-client'
import type { Config } from '../config.ts'
import type { Access } from '../kubernetes/http/access.ts'
import { createAccess } from '../kubernetes/http/access.ts'
import type { KubernetesApi } from '../kubernetes/api.ts'
import { createKubernetesApi } from '../kubernetes/api.ts'
import type { KubernetesMetrics } from '../kubernetes/metrics.ts'
import { createKubernetesMetrics } from '../kubernetes/metrics.ts'
import type { LogOptions } from '../operations/logger.ts'
import { createLogger } from '../operations/logger.ts'
import type { PrefectClient } from '../prefect/client.ts'
import { createPrefectClient } from '../prefect/client.ts'

/** What every command stands on: settings, a log, and the two APIs. */
export interface Foundation {
  readonly config: Config
  readonly logger: Logger
  readonly registry: Registry
  readonly access: Access
  readonly kubernetes: KubernetesApi
  readonly kubernetesMetrics: KubernetesMetrics
  readonly prefect: PrefectClient
  /** Which cluster and which Prefect these are, for people. */
  readonly targets: Targets
  /** Lets go of all connections. */
  readonly close: () => Promise<void>
}

/** Where a command looks, and what it may change: credentials are no part of it. */
export interface Targets {
  /** The kubeconfig's context; `inClusterContext` in a pod. */
  readonly context: string
  readonly cluster: string
  readonly prefect: string
}

/** Opens nothing yet: both APIs connect with the first request. The kubeconfig is the environment's, or the pod's. */
export function createFoundation(config: Config, log: Pick<LogOptions, 'to'> = {}): Foundation {
  const logger = createLogger({ ...config.log, ...log })
  const registry = new Registry()
  const kubeConfig = new KubeConfig()
  kubeConfig.loadFromDefault()
  const kubernetesMetrics = createKubernetesMetrics(registry)
  const access = createAccess({ kubeConfig, metrics: kubernetesMetrics, userAgent: 'prefect-lifeguard' })
  const kubernetes = createKubernetesApi({ access, namespaces: config.namespaces })
  const prefect = createPrefectClient({
    ...config.prefect,
    registry,
    logger: logger.child({ api: 'prefect' }),
  })
  return {
    config,
    logger,
    registry,
    access,
    kubernetes,
    kubernetesMetrics,
    prefect,
    targets: targetsOf(kubeConfig, config),
    close: async () => {
      await Promise.all([prefect.close(), access.close()])
    },
  }
}

const targetsOf = (kubeConfig: KubeConfig, { prefect }: Config): Targets => ({
  context: kubeConfig.getCurrentContext(),
  cluster: withoutUser(kubeConfig.getCurrentCluster()?.server ?? 'none'),
  prefect: withoutUser(prefect.apiUrl),
})

/** An address may hold a user and a password. */
function withoutUser(address: string): string {
  if (!URL.canParse(address)) return address
  const { origin, pathname } = new URL(address)
  return `${origin}${pathname.replace(/\/$/, '')}`
}

/** Where a command looks, in one line. */
export const targetsInWords = ({ context, cluster, prefect }: Targets): string =>
  `Cluster ${cluster} (context ${context}), Prefect ${prefect}\n`
