import fastify, { LogController } from 'fastify'
import type { FastifyBaseLogger, FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { Server as TlsServer } from 'node:tls'
import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import type { ParentOf } from '../core/parent.ts'
import { createMutation, createValidation } from './decide.ts'
import type { Decide } from './decide.ts'
import { createListener, createUnusedConnections, secureContextOf } from './listener.ts'
import type { Certificate } from './listener.ts'
import { createLookUp } from './look-up.ts'
import { createAdmissionMetrics } from './metrics.ts'
import type { AdmissionMetrics } from './metrics.ts'
import { MalformedReviewError } from './review.ts'
import { createServe } from './serve.ts'
import type { ValidationMode } from './validate.ts'

export interface AdmissionOptions {
  /** Undefined serves plain HTTP, which is for tests that inject requests. */
  readonly tls: Certificate | undefined
  readonly parentOf: ParentOf
  readonly validation: ValidationMode
  /** How long Prefect may take before an object passes without it. Well below the webhooks' `timeoutSeconds: 2`. */
  readonly lookupDeadlineMs: number
  /** Reviews under way at once, for each webhook; beyond it they pass at once, with a warning. */
  readonly maxConcurrent: number
  readonly logger: Logger
  readonly registry: Registry
  /** Our own service account, `system:serviceaccount:<namespace>:<name>`: it may change label and annotation. */
  readonly ownUsername?: string
  /** PEM. With it only clients that show a certificate of this CA are served. */
  readonly clientCa?: string | undefined
}

export type AdmissionServer = FastifyInstance & {
  /** First step of a shutdown: serves on, but with every response asks the client to take another connection. */
  readonly drain: () => void
  /** Shows this certificate from the next TLS handshake on; open connections stay. */
  readonly useCertificate: (certificate: Certificate) => void
}

/** Two objects of at most 3 MiB (old and new) and 1 MiB for the envelope: controller-runtime's `maxRequestSize`. */
const BODY_LIMIT = 7 * 1024 * 1024

/** The webhook server: `POST /mutate` and `POST /validate`. Listening is the caller's. */
export function createAdmissionServer(options: AdmissionOptions): AdmissionServer {
  const { tls, clientCa, logger, maxConcurrent, registry } = options
  const metrics = createAdmissionMetrics(registry)
  const app = fastify({
    loggerInstance: childless(logger),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    // Ajv rewrites bodies by default; a review is parsed as it came, and no schema added later shall change that.
    ajv: { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false } },
    // A key such as `__proto__` is legal in a pod (in a CSI volume's attributes): refused, it would be a way past
    // validation. Nothing here assigns by keys out of a body.
    onProtoPoisoning: 'ignore',
    onConstructorPoisoning: 'ignore',
    // While closing, what arrives on an open connection is still served: a 503 would leave a pod unlabelled.
    return503OnClosing: false,
    serverFactory: handler => createListener(handler, { tls, clientCa }),
  })
  const endUnusedConnections = createUnusedConnections(app.server)
  app.addHook('preClose', async () => endUnusedConnections())
  measure(app, metrics)
  app.setErrorHandler(answerError)
  for (const [webhook, decide] of Object.entries(webhooks(options))) {
    app.post(webhook, createServe({ webhook, decide, metrics, maxConcurrent, logger }))
  }
  return Object.assign(app, {
    drain: createDrain(app),
    useCertificate: (certificate: Certificate) => {
      if (app.server instanceof TlsServer) app.server.setSecureContext(secureContextOf(certificate, clientCa))
    },
  })
}

/**
 * For all requests the same logger: a review has a uid, which its line names, and a logger of its own for each would only
 * count them as well. A `childLoggerFactory` would do, but have fastify look through its methods each time (1 µs).
 */
function childless(logger: Logger): FastifyBaseLogger {
  const same: FastifyBaseLogger = Object.assign(Object.create(logger), { child: () => same })
  return same
}

function webhooks(options: AdmissionOptions): Readonly<Record<string, Decide>> {
  const { parentOf, lookupDeadlineMs, validation: mode, ownUsername } = options
  const lookUp = createLookUp(parentOf, lookupDeadlineMs)
  return { '/mutate': createMutation(lookUp), '/validate': createValidation({ lookUp, mode, ownUsername }) }
}

/**
 * kube-apiserver goes on using its open connections to a pod that is shutting down (kubernetes/kubernetes#127335), and
 * loses the request if one is closed under it. So connections end one by one, each after an answer. The header is set
 * with the answer, not with the request: one that came in before would keep its connection, and `close` wait for it.
 */
function createDrain(app: FastifyInstance): () => void {
  let isDraining = false
  const drain = (): void => {
    isDraining = true
  }
  // oxlint-disable-next-line max-params -- fastify's signature; an async hook would cost each answer a promise
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (isDraining) reply.header('connection', 'close')
    done()
  })
  app.addHook('preClose', async () => drain())
  return drain
}

function measure(app: FastifyInstance, metrics: AdmissionMetrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    const webhook = request.routeOptions.url
    if (webhook !== undefined) metrics.finished(webhook, reply.statusCode, reply.elapsedTime / 1000)
    done()
  })
}

/** Whatever is thrown here is about the request: too large, no JSON, no review. The object it was about passes by `failurePolicy: Ignore`. */
function answerError(error: FastifyError, request: FastifyRequest, reply: FastifyReply) {
  request.log.warn({ err: error, webhook: request.url, reqId: request.id }, 'refused a malformed request')
  const field = error instanceof MalformedReviewError ? { field: error.field } : {}
  return reply.code(error.statusCode ?? 500).send({ error: error.message, ...field })
}
