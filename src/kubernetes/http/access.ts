import type { KubeConfig } from '@kubernetes/client-node'

import type { Instant } from '../../core/objects.ts'
import { systemClock, type Clock } from '../clock.ts'
import { createCredentials } from './credentials.ts'
import { createExchange, type ApiResponse, type Exchange } from './exchange.ts'
import { KubernetesError, statusError } from './errors.ts'
import { noMetrics, type KubernetesMetrics } from '../metrics.ts'
import type { ApiRequest, ApiStreamRequest } from './request.ts'
import { retryDelay } from './retry.ts'
import { createServerTime } from './server-time.ts'

/** The way to one apiserver. Aborting rejects with the signal's reason; all else that fails is a KubernetesError. */
export interface Access {
  readonly request: <T>(request: ApiRequest<T>) => Promise<T>
  /** A GET whose answer does not end: chunks as they arrive, until the server ends it. Must be iterated. */
  readonly stream: (request: ApiStreamRequest) => Promise<AsyncIterable<Uint8Array>>
  /** What time it is for the apiserver, as far as its answers tell: what its objects' times are compared with. */
  readonly serverNow: () => Instant
  readonly openConnections: () => number
  /** Breaks off whatever is under way. */
  readonly close: () => Promise<void>
}

export interface AccessOptions {
  readonly kubeConfig: KubeConfig
  readonly userAgent?: string
  /** For requests that name none. */
  readonly timeoutMs?: number
  /** Most sockets for requests; each watch has one besides. */
  readonly connections?: number
  readonly metrics?: KubernetesMetrics
  readonly clock?: Clock
}

/** Long enough for a list page of a busy apiserver, which gives up at 60 s itself. */
const TIMEOUT_MS = 30_000

const ATTEMPTS = 4

/** Requests and streams to the apiserver a kubeconfig names, over as few connections as possible. */
export function createAccess(options: AccessOptions): Access {
  const clock = options.clock ?? systemClock
  const serverTime = createServerTime(clock)
  const exchange = createExchange({
    credentials: createCredentials(options.kubeConfig, clock),
    clock,
    metrics: options.metrics ?? noMetrics,
    userAgent: options.userAgent ?? 'prefect-lifeguard',
    sockets: options.connections ?? 4,
    heard: serverTime.heard,
  })
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  return {
    request: async request => {
      const attempts = request.attempts ?? (request.method === 'GET' ? ATTEMPTS : 1)
      return attempt({ timeoutMs, ...request }, { made: 0, attempts, exchange: exchange.whole, clock })
    },
    stream: exchange.stream,
    serverNow: serverTime.now,
    openConnections: exchange.openConnections,
    close: exchange.close,
  }
}

interface Attempt {
  /** Attempts that failed so far, of so many. */
  readonly made: number
  readonly attempts: number
  readonly exchange: Exchange['whole']
  readonly clock: Clock
}

async function attempt<T>(
  request: ApiRequest<T> & { readonly timeoutMs: number },
  round: Attempt,
): Promise<T> {
  try {
    return parsed(request, await round.exchange(request))
  } catch (error) {
    const made = round.made + 1
    const delay = made < round.attempts ? retryDelay(error, made, round.clock.random) : undefined
    if (delay === undefined) throw error
    await round.clock.sleep(delay, request.signal)
    return attempt(request, { ...round, made })
  }
}

function parsed<T>(request: ApiRequest<T>, response: ApiResponse): T {
  const { method, path } = request
  const { status, retryAfter, body } = response
  if (status < 200 || status > 299) throw statusError({ method, path, status, retryAfter }, body)
  try {
    return request.parse(body)
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new KubernetesError({ method, path, status, code: 'UnreadableBody' }, message, { cause })
  }
}
