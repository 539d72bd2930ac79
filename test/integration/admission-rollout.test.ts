import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { createBalancer } from '../admission/balancer.ts'
import { certificates, clientOf, jobOf, JOBS, registerWebhooks } from '../admission/on-cluster.ts'
import { FLOW_RUN_ID, PARENT_TASK_RUN_ID } from '../admission/server-of.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'

/** Jobs a second while replicas come and go. */
const RATE = 100
/** A Service goes on sending new connections to a pod that is shutting down until every node has heard of it. */
const ENDPOINTS_LAG_MS = 300

/**
 * A request that crosses with the end of its idle connection is lost, and HTTP/1.1 has no way to tell a client before:
 * nearly always none, one or two on a machine so busy that the crossing takes long. Without draining it is every tenth.
 */
const LOST_SHARE = 0.01

t.setTimeout(600_000)

const plane = await startControlPlane()
const balancer = await createBalancer()
const { ask, close } = clientOf(plane)
const { authority, leaf } = await certificates()
const folder = t.testdir({ 'tls.crt': leaf.cert, 'tls.key': leaf.key })
const children = new Set<ChildProcess>()
t.teardown(async () => {
  for (const child of children) child.kill('SIGKILL')
  await close()
  await balancer.close()
  await plane.stop()
})

interface Replica {
  readonly child: ChildProcess
  readonly port: number
}

async function startReplica(): Promise<Replica> {
  const child = fork(new URL('../admission/replica.ts', import.meta.url), [folder])
  children.add(child)
  child.once('exit', () => children.delete(child))
  const [{ port }] = (await once(child, 'message')) as [{ port: number }]
  balancer.backends.add(port)
  return { child, port }
}

interface Creation {
  readonly status: number
  readonly isLabelled: boolean
  readonly ms: number
}

/** Creates Jobs at a steady rate until the work is done, whatever becomes of them. Dry runs: all of admission, and no pods. */
async function creationsDuring(work: () => Promise<void>): Promise<readonly Creation[]> {
  const under = { way: true }
  const creations: Promise<Creation>[] = []
  const creating = (async () => {
    const start = performance.now()
    while (under.way) {
      creations.push(createOne())
      await setTimeout(Math.max(0, start + (creations.length * 1000) / RATE - performance.now()))
    }
  })()
  await work()
  under.way = false
  await creating
  return Promise.all(creations)
}

async function createOne(): Promise<Creation> {
  const start = performance.now()
  const { status, body } = await ask({ method: 'POST', path: `${JOBS}?dryRun=All`, body: jobOf(FLOW_RUN_ID) })
  const isLabelled = body.metadata.labels?.['prefect.io/parent-task-run-id'] === PARENT_TASK_RUN_ID
  return { status, isLabelled, ms: performance.now() - start }
}

/** For the reader of the test's output; timings are not asserted. */
function summary(creations: readonly Creation[]): string {
  const times = creations.map(({ ms }) => ms).toSorted((a, b) => a - b)
  const at = (share: number): string => (times[Math.floor(times.length * share)] ?? 0).toFixed(0)
  const unlabelled = creations.filter(({ isLabelled }) => !isLabelled).length
  return `${creations.length} Jobs, ${unlabelled} unlabelled, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(0.9999)} ms`
}

await registerWebhooks(ask, { port: balancer.port, caBundle: authority.cert })
let [first, second] = await Promise.all([startReplica(), startReplica()])
await eventually(createOne, {
  until: ({ isLabelled }) => isLabelled,
  what: 'the apiserver to call the webhooks',
})

/** As a rolling update does: a new one first. */
async function restart({ child, port }: Replica): Promise<Replica> {
  const fresh = await startReplica()
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await setTimeout(ENDPOINTS_LAG_MS)
  balancer.backends.delete(port)
  await exited
  return fresh
}

t.test(
  'both replicas are restarted, one after the other: every Job is created, and next to none unlabelled',
  async t => {
    const creations = await creationsDuring(async () => {
      first = await restart(first)
      second = await restart(second)
    })
    t.comment(summary(creations))
    t.strictSame(
      creations.filter(({ status }) => status !== 201),
      [],
    )
    const unlabelled = creations.filter(({ isLabelled }) => !isLabelled)
    t.ok(unlabelled.length <= creations.length * LOST_SHARE, `${unlabelled.length} unlabelled`)
  },
)

t.test('one replica is killed without a good-bye: every Job is created', async t => {
  const creations = await creationsDuring(async () => {
    await setTimeout(500)
    const exited = once(first.child, 'exit')
    first.child.kill('SIGKILL')
    await exited
    await setTimeout(ENDPOINTS_LAG_MS)
    balancer.backends.delete(first.port)
    first = await startReplica()
    await setTimeout(500)
  })
  t.comment(summary(creations))
  t.strictSame(
    creations.filter(({ status }) => status !== 201),
    [],
  )
  t.ok(creations.at(-1)?.isLabelled, 'and labelled again afterwards')
})

const tell = (what: string): void => [first, second].forEach(({ child }) => child.send(what))

t.test('Prefect hangs for both replicas: every Job is created', async t => {
  const creations = await creationsDuring(async () => {
    tell('hangs')
    await setTimeout(2_000)
    tell('answers')
    await eventually(createOne, { until: ({ isLabelled }) => isLabelled, what: 'labels to come back' })
  })
  t.comment(summary(creations))
  t.strictSame(
    creations.filter(({ status }) => status !== 201),
    [],
  )
  t.ok(
    creations.some(({ isLabelled }) => !isLabelled),
    'Prefect did hang',
  )
})
