import type { KubeConfig } from '@kubernetes/client-node'

import { systemClock, type Clock } from './clock.ts'
import { createCredentials } from './credentials.ts'
import { createExchange, type ApiResponse } from './exchange.ts'
import { KubernetesError, statusError } from './errors.ts'
import { noMetrics, type KubernetesMetrics } from './metrics.ts'
import { retryDelay } from './retry.ts'

export interface ApiRequest<T> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** From the root, without the query: `/apis/batch/v1/jobs`. Names in it are escaped by the caller. */
  readonly path: string
  /** Parameters that are `undefined` are left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  readonly body?: unknown
  /** `application/json` unless told; a patch says here which kind it is. */
  readonly contentType?: string
  readonly accept?: string
  readonly signal: AbortSignal
  /** For one attempt, from asking to the last byte. */
  readonly timeoutMs?: number
  /** Attempts in all: 4 for a GET, else 1. More only where a second time means the same as the first. */
  readonly attempts?: number
  /** Gets the JSON that came, or the text where it was none. */
  readonly parse: (body: unknown) => T
}

export interface ApiStreamRequest {
  readonly path: string
  readonly query?: ApiRequest<unknown>['query']
  readonly accept?: string
  readonly signal: AbortSignal
  /** How long nothing may arrive before the stream breaks off with the code `Timeout`. */
  readonly silenceMs: number
}

/** The way to one apiserver. Aborting rejects with the signal's reason; all else that fails is a KubernetesError. */
export interface Access {
  readonly request: <T>(request: ApiRequest<T>) => Promise<T>
  /** A GET whose answer does not end: chunks as they arrive, until the server ends it. Must be iterated. */
  readonly stream: (request: ApiStreamRequest) => Promise<AsyncIterable<Uint8Array>>
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
  const exchange = createExchange({
    credentials: createCredentials(options.kubeConfig, clock),
    clock,
    metrics: options.metrics ?? noMetrics,
    userAgent: options.userAgent ?? 'prefect-lifeguard',
    sockets: options.connections ?? 4,
  })
  const timeoutMs = options.timeoutMs ?? TIMEOUT_MS
  return {
    request: async request => {
      const attempts = request.attempts ?? (request.method === 'GET' ? ATTEMPTS : 1)
      return attempt({ timeoutMs, ...request }, { made: 0, attempts, exchange: exchange.whole, clock })
    },
    stream: exchange.stream,
    openConnections: exchange.openConnections,
    close: exchange.close,
  }
}

interface Attempt {
  /** Attempts that failed so far, of so many. */
  readonly made: number
  readonly attempts: number
  readonly exchange: (request: ApiRequest<unknown> & { readonly timeoutMs: number }) => Promise<ApiResponse>
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
