import { once } from 'node:events'
import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Registry } from 'prom-client'
import t from 'tap'

import { createAccess, type Access } from '../../src/kubernetes/http/access.ts'
import { createLeadership, type Leadership } from '../../src/kubernetes/lease/leadership.ts'
import { createKubernetesMetrics } from '../../src/kubernetes/metrics.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { leases } from '../cluster/resources.ts'
import { adminConfig } from '../kubernetes/on-cluster.ts'
import { startProxy, type Proxy } from '../kubernetes/proxy.ts'

const plane = await startControlPlane()
t.teardown(() => plane.stop())

const timings = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, retryPeriodMs: 300 }

interface Contender extends AsyncDisposable {
  readonly identity: string
  readonly leadership: Leadership
  readonly proxy: Proxy
  readonly access: Access
  readonly stop: () => Promise<void>
}

interface Contest {
  /** Of the Lease. */
  readonly name: string
  readonly all: Contender[]
  readonly clashes: string[]
}

/** A contender with a wire of its own. Whoever starts to lead looks whether anybody else believes to. */
async function contend(contest: Contest, identity: string): Promise<Contender> {
  const { name, all, clashes } = contest
  const proxy = await startProxy(plane.server)
  const access = createAccess({ kubeConfig: adminConfig(plane, proxy.server) })
  const controller = new AbortController()
  const leadership = createLeadership({
    access,
    namespace: 'default',
    name,
    identity,
    timings,
    onStartedLeading: async signal => {
      const others = all.filter(other => other.identity !== identity && other.leadership.isLeader())
      clashes.push(...others.map(other => `${identity} beside ${other.identity}`))
      await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }))
    },
  })
  const running = leadership.run(controller.signal)
  const stop = async (): Promise<void> => {
    controller.abort(new Error('the process stops'))
    await running
  }
  const contender: Contender = {
    identity,
    leadership,
    proxy,
    access,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop()
      await access.close()
      await proxy[Symbol.asyncDispose]()
    },
  }
  all.push(contender)
  return contender
}

const leader = (all: readonly Contender[], what: string): Promise<Contender> =>
  eventually(async () => all.find(({ leadership }) => leadership.isLeader()), {
    until: found => found !== undefined,
    what,
  }) as Promise<Contender>

interface LeaseSpec {
  readonly renewTime: string
  readonly leaseTransitions: number
}

async function leaseOf(name: string): Promise<LeaseSpec> {
  const lease = (await plane.api.get(leases, { name })) as { spec: LeaseSpec } | undefined
  return lease?.spec ?? (t.fail(`no lease ${name}`) as never)
}

t.test('of three one leads; cut off it stops, and another takes over; never two at once', async t => {
  const contest: Contest = { name: 'three', all: [], clashes: [] }
  const { all, clashes } = contest
  for (const identity of ['a', 'b', 'c']) await contend(contest, identity)
  const first = await leader(all, 'a leader')
  first.proxy.cut()
  await eventually(async () => first.leadership.isLeader(), {
    until: leads => !leads,
    what: 'the first to stop',
  })
  const second = await leader(
    all.filter(other => other !== first),
    'another leader',
  )
  t.not(second.identity, first.identity)
  first.proxy.restore()
  // A connection that is dead without a word is given up in time: the leader stays.
  const seen = await leaseOf('three')
  second.proxy.freeze()
  await eventually(() => leaseOf('three'), {
    until: ({ renewTime }) => Date.parse(renewTime) - Date.parse(seen.renewTime) > timings.leaseDurationMs,
    what: 'renewals for longer than a lease lasts',
  })
  t.ok(second.leadership.isLeader())
  t.equal((await leaseOf('three')).leaseTransitions, seen.leaseTransitions)
  t.strictSame(clashes, [])
  for (const contender of all) await contender[Symbol.asyncDispose]()
  const lease = await plane.api.get(leases, { name: 'three' })
  t.match(lease, { spec: { leaseDurationSeconds: 1 } }, 'released in the end')
})

t.test('a lease that is released is taken without waiting for its end', async t => {
  const contest: Contest = { name: 'released', all: [], clashes: [] }
  const { all, clashes } = contest
  await using first = await contend(contest, 'a')
  await leader(all, 'the first')
  await using second = await contend(contest, 'b')
  await first.stop()
  t.equal((await leader(all, 'the second')).identity, second.identity)
  t.strictSame(clashes, [])
})

t.test(
  'processes: one that is killed is succeeded when its lease runs out, one that is told to stop at once',
  async t => {
    const file = fileURLToPath(new URL('../kubernetes/contender.ts', import.meta.url))
    const said = new Map<ChildProcess, string>()
    const start = (identity: string): ChildProcess => {
      const child = spawn(process.execPath, [file, plane.kubeconfig, identity], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      said.set(child, '')
      child.stdout?.on('data', (text: Buffer) => said.set(child, `${said.get(child)}${text.toString()}`))
      t.teardown(() => child.kill('SIGKILL'))
      return child
    }
    const leads = (child: ChildProcess): Promise<unknown> =>
      eventually(async () => said.get(child), {
        until: text => text?.endsWith('leading\n') === true,
        what: 'it to lead',
      })
    const first = start('one')
    await leads(first)
    const second = start('two')
    first.kill('SIGKILL')
    await leads(second)
    const third = start('three')
    second.kill('SIGTERM')
    const [code] = (await once(second, 'exit')) as [number]
    t.equal(code, 0)
    t.equal(said.get(second), 'leading\nstopped\n')
    await leads(third)
    t.match(await plane.api.get(leases, { name: 'contest' }), { spec: { holderIdentity: 'three' } })
  },
)

t.test('what others wrote on the Lease stays; the gauge says who leads', async t => {
  const registry = new Registry()
  const access = createAccess({ kubeConfig: adminConfig(plane) })
  await plane.api.create(leases, { metadata: { name: 'labelled', ...labels({ team: 'data' }) }, spec: {} })
  const controller = new AbortController()
  const leadership = createLeadership({
    access,
    namespace: 'default',
    name: 'labelled',
    identity: 'a',
    timings,
    metrics: createKubernetesMetrics(registry),
    onStartedLeading: async () => {},
  })
  const gauge = async (): Promise<string> => registry.getSingleMetricAsString('leader_election_master_status')
  t.match(await gauge(), 'leader_election_master_status{name="labelled"} 0')
  const running = leadership.run(controller.signal)
  await eventually(async () => leadership.isLeader(), { until: leads => leads, what: 'it to lead' })
  t.match(await gauge(), 'leader_election_master_status{name="labelled"} 1')
  t.match(await plane.api.get(leases, { name: 'labelled' }), {
    metadata: { labels: { team: 'data' } },
    spec: { holderIdentity: 'a' },
  })
  controller.abort()
  await running
  t.match(await gauge(), 'leader_election_master_status{name="labelled"} 0')
  await access.close()
})

const labels = (of: Record<string, string>): { labels: Record<string, string> } => ({ labels: of })
