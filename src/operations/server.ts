import fastify from 'fastify'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Registry } from 'prom-client'

/** One thing that has to be well, in words: `ok`, or what is wrong and since when. */
export interface Check {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

export interface OperationsDeps {
  /** Whether the process makes progress; a failing check has Kubernetes restart it. */
  readonly liveness: () => readonly Check[]
  /** Whether admission can be served; independent of leadership and of Prefect. */
  readonly readiness: () => readonly Check[]
  /** What else there is to know, for people: watches, leadership. Never decides about readiness. */
  readonly information: () => readonly Check[]
  readonly registry: Registry
}

/** Health and metrics, on a port of their own: never behind TLS, never on the admission port. */
export function createOperationsServer({
  liveness,
  readiness,
  information,
  registry,
}: OperationsDeps): FastifyInstance {
  const app = fastify()
  app.get('/livez', (_request, reply) => answer(reply, liveness()))
  app.get('/readyz', (_request, reply) => answer(reply, readiness(), information()))
  app.get('/metrics', async (_request, reply) =>
    reply.type(registry.contentType).send(await registry.metrics()),
  )
  return app
}

/** As kube-apiserver answers: a line for each check, 200 or 503. */
function answer(reply: FastifyReply, checks: readonly Check[], more: readonly Check[] = []): FastifyReply {
  const isWell = checks.every(({ ok }) => ok)
  const lines = [...checks, ...more].map(({ name, ok, detail }) => `[${ok ? '+' : '-'}] ${name}: ${detail}`)
  return reply
    .code(isWell ? 200 : 503)
    .type('text/plain; charset=utf-8')
    .send(`${[...lines, isWell ? 'ok' : 'not ok'].join('\n')}\n`)
}
