import { setTimeout } from 'node:timers/promises'
import t from 'tap'

import { PARENT_TASK_RUN_ID_LABEL } from '../../src/core/names.ts'
import type { Job } from '../../src/core/objects.ts'
import { createAccess, type Access } from '../../src/kubernetes/http/access.ts'
import type { ReflectorLimits } from '../../src/kubernetes/watch/limits.ts'
import { parseJob } from '../../src/kubernetes/parse/job.ts'
import { parseMeta } from '../../src/kubernetes/parse/metadata.ts'
import { parsePod } from '../../src/kubernetes/parse/pod.ts'
import { JOBS, PODS } from '../../src/kubernetes/paths.ts'
import type { Reflector } from '../../src/kubernetes/watch/reflector.ts'
import { createReflectors } from '../../src/kubernetes/watch/reflectors.ts'
import type { Change } from '../../src/kubernetes/watch/store.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { jobs } from '../cluster/resources.ts'
import { adminConfig, create, jobReaderOf, suspendedJob } from '../kubernetes/on-cluster.ts'
import { startProxy, type Proxy } from '../kubernetes/proxy.ts'

const plane = await startControlPlane()
t.teardown(() => plane.stop())
const { api } = plane

const forAWhile = AbortSignal.timeout(180_000)
const parent = '0190a000-0000-7000-8000-000000000001'
const subflow = { [PARENT_TASK_RUN_ID_LABEL]: parent }

interface Follow extends AsyncDisposable {
  readonly proxy: Proxy
  readonly access: Access
  readonly reflector: Reflector<Job>
  readonly changes: Change<Job>[]
  /** `added etl`, with a word for each flag. */
  readonly words: () => string[]
  readonly until: (what: string, holds: () => boolean) => Promise<void>
  /** Whether the store holds exactly what the API lists, version for version. */
  readonly assertExact: (t: Assertions) => Promise<void>
}

interface Assertions {
  readonly strictSame: (found: unknown, wanted: unknown, message: string) => unknown
}

/** A reflector of labelled Jobs behind a wire that can be hurt. */
async function follow(
  namespaces: readonly string[] = [],
  limits: Partial<ReflectorLimits> = {},
): Promise<Follow> {
  const proxy = await startProxy(plane.server)
  const access = createAccess({ kubeConfig: adminConfig(plane, proxy.server), timeoutMs: 5_000 })
  const changes: Change<Job>[] = []
  const reflector = createReflectors({
    access,
    resource: JOBS,
    namespaces,
    labelSelector: PARENT_TASK_RUN_ID_LABEL,
    parse: parseJob,
    onChange: change => changes.push(change),
    limits: { pageSize: 2, settleMs: 2_000, ...limits },
  })
  reflector.start()
  await reflector.whenSynced(forAWhile)
  return {
    proxy,
    access,
    reflector,
    changes,
    words: () =>
      changes.map(({ type, object, finalStateUnknown, leftSelector }) =>
        [
          type,
          object.metadata.name,
          ...(finalStateUnknown ? ['unseen'] : []),
          ...(leftSelector ? ['perhaps unlabelled'] : []),
        ].join(' '),
      ),
    until: async (what, holds) => {
      await eventually(async () => holds(), { until: held => held, what, timeoutMs: 60_000 })
    },
    assertExact: async t => {
      const { items } = await api.list(jobs, { labelSelector: PARENT_TASK_RUN_ID_LABEL })
      const versions = items.map(({ metadata: { uid, resourceVersion } }) => `${uid} ${resourceVersion}`)
      const known = Array.from(
        reflector.list(),
        ({ metadata: { uid, resourceVersion } }) => `${uid} ${resourceVersion}`,
      )
      t.strictSame(known.toSorted(), versions.toSorted(), 'the store holds what the API lists')
    },
    [Symbol.asyncDispose]: async () => {
      await reflector.stop()
      await access.close()
      await proxy[Symbol.asyncDispose]()
    },
  }
}

t.test(
  'Jobs that come, change and go are told; a lost label and a deletion in the background look alike',
  async t => {
    for (const name of ['early-1', 'early-2', 'early-3'])
      await api.create(jobs, suspendedJob({ name, labels: subflow }))
    await api.create(jobs, suspendedJob({ name: 'top-level' }))
    await using followed = await follow()
    t.strictSame(
      followed.words().toSorted(),
      ['added early-1', 'added early-2', 'added early-3'],
      'over two pages',
    )
    followed.changes.length = 0

    await api.create(jobs, suspendedJob({ name: 'late', labels: subflow }))
    await api.patch(jobs, { name: 'late' }, { body: { metadata: { labels: { more: 'yes' } } } })
    await api.patch(
      jobs,
      { name: 'early-1' },
      { body: { metadata: { labels: { [PARENT_TASK_RUN_ID_LABEL]: null } } } },
    )
    await api.remove(jobs, { name: 'early-2' }, { propagationPolicy: 'Background' })
    await api.remove(jobs, { name: 'early-3' }, { propagationPolicy: 'Foreground' })
    const told = await eventually(async () => followed.words(), {
      until: words => words.filter(word => word.startsWith('deleted')).length === 3,
      what: 'three deletions',
    })
    t.ok(told.includes('added late') && told.includes('modified late'))
    t.ok(told.includes('deleted early-1 perhaps unlabelled'), 'it lives on without the label')
    t.ok(told.includes('deleted early-2 perhaps unlabelled'), 'it is gone')
    t.ok(told.includes('deleted early-3'), 'only a deletion that took its time has a deletionTimestamp')
    t.strictSame(await followed.reflector.compare(forAWhile), { compared: 1, late: 0, missed: 0 })
    await followed.assertExact(t)
  },
)

t.test('a name that comes back is another object', async t => {
  await using followed = await follow()
  const { metadata: first } = await api.create(jobs, suspendedJob({ name: 'again', labels: subflow }))
  await api.remove(jobs, { name: 'again' }, { propagationPolicy: 'Background' })
  const { metadata: second } = await api.create(jobs, suspendedJob({ name: 'again', labels: subflow }))
  await followed.until('the second', () => followed.reflector.get(second.uid) !== undefined)
  t.equal(followed.reflector.get(first.uid), undefined)
  const told = followed.changes
    .filter(({ type, object }) => type !== 'modified' && object.metadata.name === 'again')
    .map(({ type, object }) => [type, object.metadata.uid])
  t.strictSame(told, [
    ['added', first.uid],
    ['deleted', first.uid],
    ['added', second.uid],
  ])
})

t.test('a watch needs a connection, and all requests together one more', async t => {
  await using followed = await follow()
  const pods = createReflectors({
    access: followed.access,
    resource: PODS,
    namespaces: [],
    parse: parsePod,
    onChange: () => {},
  })
  pods.start()
  await pods.whenSynced(forAWhile)
  await followed.until('both watches', () =>
    [pods, followed.reflector].every(({ status }) => status().state === 'watching'),
  )
  const get = async (): Promise<unknown> =>
    followed.access.request({
      method: 'GET',
      path: '/api/v1/namespaces/default',
      signal: forAWhile,
      parse: json => json,
    })
  await Promise.all(Array.from({ length: 50 }, get))
  const used = async (): Promise<number> => {
    await get()
    return followed.proxy.connections()
  }
  await eventually(used, {
    until: connections => connections === 3,
    what: 'those of the burst to be closed again',
  })
  t.equal(followed.access.openConnections(), 3)
  await pods.stop()
})

t.test(
  'after a reset the watch goes on where it was: nothing is listed again, nothing is missing',
  async t => {
    await using followed = await follow()
    const { lastListAt } = followed.reflector.status()
    for (const name of ['reset-1', 'reset-2', 'reset-3']) {
      followed.proxy.reset()
      await api.create(jobs, suspendedJob({ name, labels: subflow }))
    }
    await followed.until('all three', () => followed.words().includes('added reset-3'))
    t.equal(followed.reflector.status().lastListAt, lastListAt)
    await followed.assertExact(t)
  },
)

t.test(
  'connections that are reset at any moment, also in their first milliseconds, are given up',
  async t => {
    await using followed = await follow()
    for (let round = 0; round < 40; round += 1) {
      await setTimeout(round % 14)
      followed.proxy.reset()
    }
    await api.create(jobs, suspendedJob({ name: 'after-many-resets', labels: subflow }))
    await followed.until('it', () => followed.words().includes('added after-many-resets'))
    await followed.assertExact(t)
  },
)

t.test(
  'a connection that is dead without a word is noticed, and what happened meanwhile is told',
  async t => {
    await using followed = await follow([], { silenceMs: 2_000 })
    const { lastListAt } = followed.reflector.status()
    await followed.until('the watch', () => followed.reflector.status().state === 'watching')
    followed.proxy.freeze()
    await api.create(jobs, suspendedJob({ name: 'unheard', labels: subflow }))
    await followed.until('it', () => followed.words().includes('added unheard'))
    t.equal(followed.reflector.status().lastListAt, lastListAt, 'without a list')
    const get = followed.access.request({
      method: 'GET',
      path: '/version',
      signal: forAWhile,
      timeoutMs: 2_000,
      parse: () => 'answered',
    })
    t.equal(await get, 'answered', 'and a request, once it timed out, takes a new connection')
    await followed.assertExact(t)
  },
)

t.test('an apiserver that is killed and comes back costs nothing but time', async t => {
  await using followed = await follow()
  await plane.stopApiserver('SIGKILL')
  await followed.until('the outage', () => followed.reflector.status().outage !== undefined)
  await plane.startApiserver()
  await api.create(jobs, suspendedJob({ name: 'after-restart', labels: subflow }))
  await followed.until('it', () => followed.words().includes('added after-restart'))
  t.equal(followed.reflector.status().outage, undefined)
  await followed.assertExact(t)
})

t.test(
  'a place the server has forgotten (a real 410) is a new list; what went meanwhile is told as unseen',
  async t => {
    await api.create(jobs, suspendedJob({ name: 'forgotten', labels: subflow }))
    await using followed = await follow()
    followed.proxy.cut()
    await api.remove(jobs, { name: 'forgotten' }, { propagationPolicy: 'Background' })
    await api.create(jobs, suspendedJob({ name: 'meanwhile', labels: subflow }))
    // The apiserver's watch cache would still know; a new one knows only what etcd has kept.
    await plane.stopApiserver('SIGKILL')
    await plane.compactEtcd()
    await plane.startApiserver()
    await api.create(jobs, suspendedJob({ name: 'afterwards', labels: subflow }))
    followed.changes.length = 0
    followed.proxy.restore()
    await followed.until('the difference', () => followed.words().includes('added afterwards'))
    const cameAndWent = followed.words().filter(word => !word.startsWith('modified'))
    t.strictSame(cameAndWent.toSorted(), ['added afterwards', 'added meanwhile', 'deleted forgotten unseen'])
    await followed.assertExact(t)
  },
)

t.test('a Role in each namespace is enough; what it does not allow is a reason not to be ready', async t => {
  const admin = createAccess({ kubeConfig: adminConfig(plane) })
  const access = await jobReaderOf(plane, admin, 'team-a')
  const common = { access, resource: JOBS, parse: parseMeta, metadataOnly: true, onChange: () => {} }
  const allowed = createReflectors({ ...common, namespaces: ['team-a'] })
  const refused = createReflectors({ ...common, namespaces: ['team-a', 'default'] })
  allowed.start()
  refused.start()
  await allowed.whenSynced(forAWhile)
  await create(
    admin,
    '/apis/batch/v1/namespaces/team-a/jobs',
    suspendedJob({ name: 'mine', namespace: 'team-a' }),
  )
  await eventually(async () => Array.from(allowed.list(), ({ metadata: { name } }) => name), {
    until: names => names.includes('mine'),
    what: 'the Job',
  })
  await eventually(async () => refused.status(), {
    until: ({ outage }) => outage?.status === 403,
    what: 'the refusal',
  })
  t.notOk(refused.hasSynced())
  await Promise.all([allowed.stop(), refused.stop()])
  await Promise.all([access.close(), admin.close()])
})
