import pino from 'pino'
import { Registry } from 'prom-client'
import t from 'tap'

import {
  FINALIZER_FREE_ANNOTATION,
  FLOW_RUN_ID_LABEL,
  PARENT_TASK_RUN_ID_LABEL,
} from '../../src/core/names.ts'
import type { Parent } from '../../src/core/parent.ts'
import { createAccess } from '../../src/kubernetes/http/access.ts'
import { createKubernetesApi } from '../../src/kubernetes/api.ts'
import { parseMeta, type Meta } from '../../src/kubernetes/parse/metadata.ts'
import { JOBS, PODS } from '../../src/kubernetes/paths.ts'
import { createReflectors } from '../../src/kubernetes/watch/reflectors.ts'
import { createBackfill } from '../../src/observer/backfill.ts'
import { systemClock } from '../../src/observer/clock.ts'
import { createObserverMetrics } from '../../src/observer/metrics.ts'
import { eventually, type NewObject } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { jobs, pods } from '../cluster/resources.ts'
import { adminConfig } from '../kubernetes/on-cluster.ts'

const SUBFLOW = '0190a000-0000-7000-8000-000000000001'
const TOP_LEVEL = '0190a000-0000-7000-8000-000000000002'
const UNKNOWN = '0190a000-0000-7000-8000-000000000003'
const TASK_RUN = '0190a000-0000-7000-8000-0000000000aa'

/** What Prefect knows. That look-ups are right is shown on a real server, elsewhere. */
const PARENTS: Readonly<Record<string, Parent>> = {
  [SUBFLOW]: { kind: 'subflow', parentTaskRunId: TASK_RUN },
  [TOP_LEVEL]: { kind: 'topLevel' },
}

const plane = await startControlPlane({ jobBackOff: '1s' })
t.teardown(() => plane.stop())
const { api } = plane
const { signal } = new AbortController()

/** A Job as Prefect's worker makes it; its pod waits for a node for ever. */
function workersJob(name: string, flowRunId: string): NewObject {
  const labels = { [FLOW_RUN_ID_LABEL]: flowRunId, team: 'etl' }
  const containers = [{ name: 'main', image: 'none' }]
  return {
    metadata: { name, labels },
    spec: { template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers } } },
  }
}

const podsOf = async (flowRunId: string): Promise<readonly Meta[]> =>
  (await api.list(pods, { labelSelector: `${FLOW_RUN_ID_LABEL}=${flowRunId}` })).items.map(parseMeta)

const jobNamed = async (name: string): Promise<Meta> => parseMeta(await api.get(jobs, { name }))

const isLabelled = ({ metadata: { labels, annotations } }: Meta): boolean =>
  labels[PARENT_TASK_RUN_ID_LABEL] === TASK_RUN && annotations[FINALIZER_FREE_ANNOTATION] === 'true'

/** Watches of what lacks the label, and a backfill behind them. */
async function start() {
  const access = createAccess({ kubeConfig: adminConfig(plane) })
  const kubernetes = createKubernetesApi({ access })
  const asked: string[] = []
  const watch = (resource: typeof JOBS) =>
    createReflectors({
      access,
      resource,
      namespaces: [],
      labelSelector: `${FLOW_RUN_ID_LABEL},!${PARENT_TASK_RUN_ID_LABEL}`,
      metadataOnly: true,
      parse: parseMeta,
      index: ({ metadata }) => metadata.labels[FLOW_RUN_ID_LABEL],
      onChange: change => backfill.changed(change),
    })
  const watches = { jobs: watch(JOBS), pods: watch(PODS) }
  const registry = new Registry()
  const backfill = createBackfill({
    ...watches,
    parentOf: async flowRunId => {
      asked.push(flowRunId)
      return PARENTS[flowRunId] ?? { kind: 'notFound' }
    },
    addToJob: (object, addition, stop) => kubernetes.addToJob(object.metadata, addition, stop),
    addToPod: (object, addition, stop) => kubernetes.addToPod(object.metadata, addition, stop),
    logger: pino({ level: 'silent' }),
    metrics: createObserverMetrics(registry),
    clock: systemClock,
  })
  const all = [watches.jobs, watches.pods]
  for (const one of all) one.start()
  await Promise.all(all.map(one => one.whenSynced(signal)))
  const stopping = new AbortController()
  const running = backfill.run(stopping.signal)
  return {
    asked,
    watches,
    registry,
    stop: async () => {
      stopping.abort()
      await running
      await Promise.all(all.map(one => one.stop()))
      await access.close()
    },
  }
}

t.test('what admission missed is labelled, and nothing else is touched', async t => {
  await api.create(jobs, workersJob('subflow', SUBFLOW))
  await api.create(jobs, workersJob('top-level', TOP_LEVEL))
  await api.create(jobs, workersJob('unknown', UNKNOWN))
  await api.create(jobs, workersJob('odd', 'no-uuid'))
  for (const flowRunId of [SUBFLOW, TOP_LEVEL, UNKNOWN, 'no-uuid'])
    await eventually(() => podsOf(flowRunId), { until: found => found.length === 1, what: 'a pod' })
  const { asked, watches, registry, stop } = await start()
  t.teardown(stop)

  await t.test('a Job and its pod that were there before', async t => {
    const job = await eventually(() => jobNamed('subflow'), {
      until: isLabelled,
      what: 'the Job to be labelled',
    })
    t.equal(job.metadata.labels['team'], 'etl', 'what it had it keeps')
    const [pod] = await eventually(() => podsOf(SUBFLOW), {
      until: found => found.every(isLabelled),
      what: 'the pod to be labelled',
    })
    t.equal(pod?.metadata.labels['team'], 'etl')
  })

  await t.test('a pod that the same Job makes later, of a template that cannot be changed', async t => {
    const [before] = await podsOf(SUBFLOW)
    t.ok(before)
    if (!before) return
    await api.remove(pods, { name: before.metadata.name })
    const [after] = await eventually(() => podsOf(SUBFLOW), {
      until: found =>
        found.length > 0 && found.every(pod => pod.metadata.uid !== before.metadata.uid && isLabelled(pod)),
      what: 'another pod to be labelled',
    })
    t.ok(after)
  })

  await t.test('a Job that comes while we watch', async t => {
    await api.create(jobs, workersJob('late', SUBFLOW))
    t.ok(await eventually(() => jobNamed('late'), { until: isLabelled, what: 'the Job to be labelled' }))
  })

  await t.test('others are left alone', async t => {
    for (const name of ['top-level', 'unknown', 'odd'])
      t.notOk(PARENT_TASK_RUN_ID_LABEL in (await jobNamed(name)).metadata.labels, name)
    for (const flowRunId of [TOP_LEVEL, UNKNOWN, 'no-uuid'])
      t.notOk(
        (await podsOf(flowRunId)).some(pod => PARENT_TASK_RUN_ID_LABEL in pod.metadata.labels),
        flowRunId,
      )
    const often = Object.groupBy(asked, flowRunId => flowRunId)
    t.equal(often[TOP_LEVEL]?.length, 1, 'and asked about once, however much happens to their pods')
    t.equal(often[UNKNOWN]?.length, 1)
    t.equal(often['no-uuid'], undefined)
  })

  await t.test('what was labelled leaves the watch, and no patch failed', async t => {
    await eventually(async () => [...watches.jobs.byIndex(SUBFLOW), ...watches.pods.byIndex(SUBFLOW)], {
      until: left => left.length === 0,
      what: 'the watch to let go of what was labelled',
    })
    t.notMatch(await registry.metrics(), /lifeguard_backfill_total\{.*outcome="failed"/)
  })
})
