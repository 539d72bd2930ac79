import { X509Certificate } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { Registry } from 'prom-client'
import t from 'tap'
import type { AdmissionServer } from '../../src/admission/server.ts'
import { createCertificateKeeper } from '../../src/certificates/keeper.ts'
import type { CertificateKeeper, CertificateKeeperDeps } from '../../src/certificates/keeper.ts'
import { createBalancer } from '../admission/balancer.ts'
import {
  clientOf,
  configurationsPath,
  DNS_NAME,
  jobOf,
  JOBS,
  listen,
  registerWebhooks,
  SERVICE,
} from '../admission/on-cluster.ts'
import type { Answer } from '../admission/on-cluster.ts'
import { FLOW_RUN_ID, PARENT_TASK_RUN_ID, recordingLogger, serverOf } from '../admission/server-of.ts'
import { certificatesIn } from '../certificates/api-of.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'

/** A year in seconds: several authorities and leaves come and go while the test runs. */
const LIFETIMES = { authorityMs: 15_000, leafMs: 5_000, propagationMs: 2_000, backdateMs: 1_000, tickMs: 200 }
/** Jobs under way at once, all the time. */
const LOAD = 8

t.setTimeout(600_000)

const plane = await startControlPlane()
const balancer = await createBalancer()
const { ask, close } = clientOf(plane)
const stop = new AbortController()
t.teardown(async () => {
  stop.abort()
  await Promise.all(replicas.map(({ server }) => server.close()))
  await balancer.close()
  await close()
  await plane.stop()
})

const SECRETS = `/api/v1/namespaces/${SERVICE.namespace}/secrets`
const SECRET = 'prefect-lifeguard-ca'

/** What main builds of its Kubernetes client. */
const api: Pick<
  CertificateKeeperDeps,
  'readSecret' | 'createSecret' | 'updateSecret' | 'readWebhookConfiguration' | 'patchCaBundle'
> = {
  readSecret: async () => found(await ask({ path: `${SECRETS}/${SECRET}` })),
  createSecret: async body => wrote(await ask({ method: 'POST', path: SECRETS, body })),
  updateSecret: async body => wrote(await ask({ method: 'PUT', path: `${SECRETS}/${SECRET}`, body })),
  readWebhookConfiguration: async kind =>
    found(await ask({ path: `${configurationsPath(kind)}/prefect-lifeguard` })),
  patchCaBundle: async (kind, body) => {
    const contentType = 'application/strategic-merge-patch+json'
    return wrote(
      await ask({
        method: 'PATCH',
        path: `${configurationsPath(kind)}/prefect-lifeguard`,
        body,
        contentType,
      }),
    )
  },
}

function found({ status, body }: Answer): unknown {
  if (status !== 200 && status !== 404) throw new Error(`${status} ${body.message}`)
  return status === 404 ? undefined : body
}

function wrote({ status, body }: Answer): boolean {
  if (![200, 201, 404, 409].includes(status)) throw new Error(`${status} ${body.message}`)
  return status < 300
}

interface Replica {
  readonly keeper: CertificateKeeper
  readonly server: AdmissionServer
  readonly leaves: string[]
  readonly lines: Record<string, unknown>[]
}

async function startReplica(): Promise<Replica> {
  const { logger, lines } = recordingLogger()
  const leaves: string[] = []
  const keeper = createCertificateKeeper({
    ...api,
    secret: { namespace: SERVICE.namespace, name: SECRET },
    service: SERVICE,
    dnsNames: [DNS_NAME],
    onLeaf: leaf => {
      leaves.push(leaf.cert)
      server.useCertificate(leaf)
    },
    lifetimes: LIFETIMES,
    now: () => new Date(),
    logger,
    registry: new Registry(),
  })
  const { server } = serverOf({ tls: await keeper.start(stop.signal) })
  // Handshakes are what a wrong certificate breaks: a connection ends after a few requests, so that there are many.
  server.server.maxRequestsPerSocket = 5
  balancer.backends.add(await listen(server))
  return { keeper, server, leaves, lines }
}

const createJob = (): Promise<Answer> =>
  ask({ method: 'POST', path: `${JOBS}?dryRun=All`, body: jobOf(FLOW_RUN_ID) })

const isLabelled = ({ status, body }: Answer): boolean =>
  status === 201 && body.metadata.labels?.['prefect.io/parent-task-run-id'] === PARENT_TASK_RUN_ID

await registerWebhooks(ask, { port: balancer.port })
const replicas = await Promise.all([startReplica(), startReplica()])
await eventually(createJob, { until: isLabelled, what: 'the apiserver to call the webhooks' })

const authority = async (): Promise<string> => {
  const { data } = (await api.readSecret(stop.signal)) as { data: Record<string, string> }
  return Buffer.from(data['ca.crt'] ?? '', 'base64').toString()
}

t.test('authorities and leaves are renewed under load, and no admission fails', async t => {
  const authorities = new Set<string>()
  const answers = { labelled: 0, failed: [] as string[] }
  const rotating = { on: true }
  const load = Array.from({ length: LOAD }, async () => {
    while (rotating.on) {
      const answer = await createJob()
      if (isLabelled(answer)) answers.labelled += 1
      else answers.failed.push(`${new Date().toISOString()} ${answer.status} ${answer.warnings.join()}`)
    }
  })
  await eventually(
    async () => {
      authorities.add(await authority())
      return authorities.size
    },
    { until: size => size >= 4, what: 'three rotations of the authority', timeoutMs: 120_000 },
  )
  rotating.on = false
  await Promise.all(load)
  const renewals = replicas.map(({ leaves }) => leaves.length)
  t.comment(
    `${answers.labelled} admissions, ${authorities.size} authorities, ${renewals.join(' and ')} leaves renewed`,
  )
  t.strictSame(answers.failed, [])
  t.ok(
    renewals.every(count => count >= 6),
    'several leaves of each replica',
  )
  const errors = replicas.flatMap(({ lines }) => lines.filter(line => Number(line['level']) >= 50))
  t.strictSame(errors, [])
})

t.test('both replicas agree, and are ready', async t => {
  const current = new X509Certificate(await authority())
  t.ok(replicas.every(({ keeper }) => keeper.hasValidLeaf() && keeper.isRegistered()))
  t.match(current.subject, /prefect-lifeguard webhook CA/)
})

t.test('a caBundle that somebody overwrites is put right', async t => {
  const kind = 'MutatingWebhookConfiguration'
  const path = `${configurationsPath(kind)}/prefect-lifeguard`
  const bundles = async (): Promise<string[][]> => {
    const { webhooks } = (await api.readWebhookConfiguration(kind, stop.signal)) as {
      webhooks: { clientConfig: { caBundle?: string } }[]
    }
    return webhooks.map(({ clientConfig }) => certificatesIn(clientConfig.caBundle))
  }
  const stale = [{ op: 'remove', path: '/webhooks/0/clientConfig/caBundle' }]
  const contentType = 'application/json-patch+json'
  t.equal((await ask({ method: 'PATCH', path, body: stale, contentType })).status, 200)
  await eventually(bundles, {
    until: all => all.every(bundle => bundle.length > 0),
    what: 'the caBundle to come back',
  })
  await eventually(createJob, { until: isLabelled, what: 'labels to come back' })
})

t.test('a Secret that somebody deletes comes back', async t => {
  const before = await authority()
  t.equal((await ask({ method: 'DELETE', path: `${SECRETS}/${SECRET}` })).status, 200)
  const after = await eventually(() => api.readSecret(stop.signal), {
    until: Boolean,
    what: 'the Secret to come back',
  })
  t.ok(after)
  // A rotation may fall into this very moment; what must not happen is an authority nobody trusts.
  await setTimeout(LIFETIMES.tickMs)
  t.ok(isLabelled(await createJob()))
  t.ok(before)
})
