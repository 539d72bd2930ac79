import { Counter, Registry } from 'prom-client'
import t from 'tap'
import type { Check } from '../../src/operations/status-report.ts'
import { createOperationsServer } from '../../src/operations/server.ts'

const well = (name: string): Check => ({ name, ok: true, detail: 'ok' })
const ill = (name: string): Check => ({ name, ok: false, detail: 'since noon' })

interface Health {
  readonly liveness?: readonly Check[]
  readonly readiness?: readonly Check[]
  readonly information?: readonly Check[]
}

async function ask(url: string, health: Health = {}) {
  const registry = new Registry()
  new Counter({ name: 'lifeguard_things_total', help: 'Things.', registers: [registry] }).inc(3)
  const app = createOperationsServer({
    registry,
    liveness: () => health.liveness ?? [well('observer')],
    readiness: () => health.readiness ?? [well('admission')],
    information: () => health.information ?? [],
    page: async () => '<!doctype html>',
  })
  const { statusCode, headers, body } = await app.inject({ url })
  await app.close()
  return { statusCode, type: headers['content-type'], body }
}

const TEXT = 'text/plain; charset=utf-8'

t.test('health is told in lines for people and a code for Kubernetes', async t => {
  const cases: Readonly<Record<string, { url: string; health: Health; code: number; body: string }>> = {
    alive: {
      url: '/livez',
      health: { liveness: [well('observer')] },
      code: 200,
      body: '[+] observer: ok\nok\n',
    },
    'not alive': {
      url: '/livez',
      health: { liveness: [well('loop'), ill('observer')] },
      code: 503,
      body: '[+] loop: ok\n[-] observer: since noon\nnot ok\n',
    },
    ready: {
      url: '/readyz',
      health: { readiness: [well('admission'), well('certificate')] },
      code: 200,
      body: '[+] admission: ok\n[+] certificate: ok\nok\n',
    },
    'not ready': {
      url: '/readyz',
      health: { readiness: [ill('certificate')] },
      code: 503,
      body: '[-] certificate: since noon\nnot ok\n',
    },
    'ready, whatever else is wrong': {
      url: '/readyz',
      health: { information: [ill('watch of jobs')] },
      code: 200,
      body: '[+] admission: ok\n[-] watch of jobs: since noon\nok\n',
    },
    'ready, be it not alive': {
      url: '/readyz',
      health: { liveness: [ill('observer')] },
      code: 200,
      body: '[+] admission: ok\nok\n',
    },
    'alive, be it not ready': {
      url: '/livez',
      health: { readiness: [ill('admission')], information: [ill('watch of jobs')] },
      code: 200,
      body: '[+] observer: ok\nok\n',
    },
    'alive with nothing to check': { url: '/livez', health: { liveness: [] }, code: 200, body: 'ok\n' },
  }
  for (const [sentence, { url, health, code, body }] of Object.entries(cases))
    t.strictSame(await ask(url, health), { statusCode: code, type: TEXT, body }, sentence)
})

t.test('metrics are told as Prometheus reads them', async t => {
  const { statusCode, type, body } = await ask('/metrics')
  t.equal(statusCode, 200)
  t.match(type, /^text\/plain; version=0\.0\.4/)
  t.match(body, '# TYPE lifeguard_things_total counter\nlifeguard_things_total 3\n')
})

t.test('there is nothing else', async t => {
  for (const url of ['/status', '/mutate', '/validate', '/healthz'])
    t.equal((await ask(url)).statusCode, 404, url)
})
