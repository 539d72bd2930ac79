import { pino } from 'pino'
import { Registry } from 'prom-client'
import t from 'tap'
import { createWatches } from '../../src/commands/watches.ts'
import { readConfig } from '../../src/config.ts'
import { createAccess } from '../../src/kubernetes/http/access.ts'
import { createKubernetesMetrics } from '../../src/kubernetes/metrics.ts'
import { eventually } from '../cluster/api.ts'
import { hanging, isWatch, json } from '../kubernetes/harness.ts'
import { bookmark, listJson } from '../kubernetes/objects.ts'
import type { Exchange } from '../kubernetes/peer.ts'
import { startPeer, statusBody } from '../kubernetes/peer.ts'

const PREFIX = 'PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_'

interface Options {
  readonly env?: Readonly<Record<string, string>>
  readonly isForbidden?: (exchange: Exchange) => boolean
}

const unwanted = (): never => {
  throw new Error('nothing ever changes here')
}

/** The watches against an API server that has nothing; what they asked it for, one line each. */
async function watch({ env = {}, isForbidden = () => false }: Options) {
  const asked = new Set<string>()
  const peer = await startPeer(exchange => {
    const { pathname, searchParams } = exchange.url
    asked.add(`${pathname} ${searchParams.get('labelSelector')}`)
    if (isForbidden(exchange)) return json(statusBody(403, 'Forbidden'), 403)(exchange)
    return isWatch(exchange) ? hanging(bookmark('11'))(exchange) : json(listJson([], '10'))(exchange)
  })
  const registry = new Registry()
  const kubernetesMetrics = createKubernetesMetrics(registry)
  const access = createAccess({ kubeConfig: peer.kubeConfig(), metrics: kubernetesMetrics })
  const config = readConfig({ PREFECT_API_URL: 'http://prefect.test/api', ...env })
  const watches = createWatches(
    { access, config, kubernetesMetrics, logger: pino({ level: 'silent' }) },
    { jobChanged: unwanted, podChanged: unwanted, unlabelledChanged: unwanted },
  )
  watches.start()
  return {
    watches,
    asked,
    stop: async () => {
      await watches.stop()
      await access.close()
      await peer[Symbol.asyncDispose]()
    },
  }
}

const LABELLED = 'prefect.io/flow-run-id,prefect.io/parent-task-run-id'
const UNLABELLED = 'prefect.io/flow-run-id,!prefect.io/parent-task-run-id'

t.test('only objects of flow runs are ever sent', async t => {
  const { watches, asked, stop } = await watch({})
  await watches.whenSynced(AbortSignal.timeout(20_000))
  t.strictSame(
    [...asked].toSorted(),
    [
      `/api/v1/pods ${LABELLED}`,
      `/api/v1/pods ${UNLABELLED}`,
      `/apis/batch/v1/jobs ${LABELLED}`,
      `/apis/batch/v1/jobs ${UNLABELLED}`,
    ].toSorted(),
  )
  await stop()
})

t.test('namespaces and label filters narrow that down', async t => {
  const { watches, asked, stop } = await watch({
    env: { [`${PREFIX}NAMESPACES`]: 'a', [`${PREFIX}ADDITIONAL_LABEL_FILTERS`]: 'team=data,tier=gold' },
  })
  await watches.whenSynced(AbortSignal.timeout(20_000))
  t.ok(asked.has(`/apis/batch/v1/namespaces/a/jobs ${LABELLED},team=data,tier=gold`))
  t.ok(asked.has(`/api/v1/namespaces/a/pods ${UNLABELLED},team=data,tier=gold`))
  t.equal(asked.size, 4)
  await stop()
})

const isForbidden = ({ url }: Exchange): boolean => url.pathname.includes('/pods')

t.test('each watch tells people how it is', async t => {
  const { watches, stop } = await watch({ isForbidden })
  const checks = await eventually(async () => watches.checks(), {
    until: checks =>
      checks.filter(({ ok }) => ok).length === 2 && checks[0]?.detail === 'watching, 0 objects',
    what: 'two watches that are well',
  })
  t.match(
    checks.map(({ name, ok }) => `${name}: ${ok}`),
    [
      'watch of jobs: true',
      'watch of pods: false',
      'watch of unlabelledJobs: true',
      'watch of unlabelledPods: false',
    ],
  )
  t.match(checks[1]?.detail, /since \d{4}-\d\d-\d\dT/)
  await stop()
})
