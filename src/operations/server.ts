import fastify from 'fastify'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Registry } from 'prom-client'
import type { Check } from './status-report.ts'
import { CONTENT_SECURITY_POLICY } from './status-page.ts'

export interface OperationsDeps {
  /** Whether the process makes progress; a failing check has Kubernetes restart it. */
  readonly liveness: () => readonly Check[]
  /** Whether admission can be served; independent of leadership and of Prefect. */
  readonly readiness: () => readonly Check[]
  /** What else there is to know, for people: watches, leadership. Never decides about readiness. */
  readonly information: () => readonly Check[]
  /** The status page, complete. */
  readonly page: () => Promise<string>
  readonly registry: Registry
}

/** Health, metrics and the status page, on a port of their own: never behind TLS, never on the admission port. */
export function createOperationsServer({
  liveness,
  readiness,
  information,
  page,
  registry,
}: OperationsDeps): FastifyInstance {
  const app = fastify()
  app.get('/livez', (_request, reply) => answer(reply, liveness()))
  app.get('/readyz', (_request, reply) => answer(reply, readiness(), information()))
  app.get('/metrics', async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  )
  app.get('/', async (_request, reply) => reply.headers(PAGE_HEADERS).send(await page()))
  return app
}

/** Nothing is kept, guessed or handed on by a browser. */
const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': CONTENT_SECURITY_POLICY,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
} as const

/** As kube-apiserver answers: a line for each check, 200 or 503. */
function answer(reply: FastifyReply, checks: readonly Check[], more: readonly Check[] = []): FastifyReply {
  const isWell = checks.every(({ ok }) => ok)
  const lines = [...checks, ...more].map(({ name, ok, detail }) => `[${ok ? '+' : '-'}] ${name}: ${detail}`)
  return reply
    .code(isWell ? 200 : 503)
    .type('text/plain; charset=utf-8')
    .send(`${[...lines, isWell ? 'ok' : 'not ok'].join('\n')}\n`)
}
