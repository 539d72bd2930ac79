import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { stringify } from 'yaml'
import { clientCertificate } from '../admission/client-certificate.ts'
import {
  certificates,
  clientOf,
  configurationsPath,
  jobOf,
  JOBS,
  listen,
  registerWebhooks,
} from '../admission/on-cluster.ts'
import { FLOW_RUN_ID, PARENT_TASK_RUN_ID, serverOf } from '../admission/server-of.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { createAuthority } from '../../src/certificates/authority.ts'

/*
 * An API server that shows a client certificate to webhooks, as one started with --admission-control-config-file
 * does, before servers that ask for one.
 */

const HOUR = 60 * 60 * 1000
const life = { notBefore: new Date(Date.now() - HOUR), notAfter: new Date(Date.now() + HOUR) }
const clients = await createAuthority(life)

const plane = await startControlPlane({
  apiserverFlags: await flagsShowing(await clientCertificate(clients)),
})
const { ask, close } = clientOf(plane)
t.teardown(async () => {
  await close()
  await plane.stop()
})

/** `kubeConfigFile` of the webhook plugins; user `*` is for every webhook. Source: kubernetes.io, "Authenticate apiservers". */
async function flagsShowing({ cert, key }: { readonly cert: string; readonly key: string }) {
  const folder = t.testdir({ 'client.crt': cert, 'client.key': key })
  const user = {
    'client-certificate': join(folder, 'client.crt'),
    'client-key': join(folder, 'client.key'),
  }
  const kubeconfig = { apiVersion: 'v1', kind: 'Config', users: [{ name: '*', user }] }
  const configuration = {
    apiVersion: 'apiserver.config.k8s.io/v1',
    kind: 'WebhookAdmissionConfiguration',
    kubeConfigFile: join(folder, 'webhooks.kubeconfig'),
  }
  const plugins = ['MutatingAdmissionWebhook', 'ValidatingAdmissionWebhook'].map(name => ({
    name,
    configuration,
  }))
  const admission = {
    apiVersion: 'apiserver.config.k8s.io/v1',
    kind: 'AdmissionConfiguration',
    plugins,
  }
  await writeFile(join(folder, 'webhooks.kubeconfig'), stringify(kubeconfig))
  await writeFile(join(folder, 'admission.yaml'), stringify(admission, { aliasDuplicateObjects: false }))
  return [`--admission-control-config-file=${join(folder, 'admission.yaml')}`]
}

const { authority, leaf } = await certificates()
const trusting = serverOf({ tls: leaf, clientCa: clients.cert, lookupDeadlineMs: 300 })
const distrusting = serverOf({
  tls: leaf,
  clientCa: (await createAuthority(life)).cert,
  lookupDeadlineMs: 300,
})
t.teardown(() => Promise.all([trusting.server.close(), distrusting.server.close()]))

/** The parent label of a Job made as a dry run. */
async function labelOfANewJob(): Promise<string | undefined> {
  const { status, body } = await ask({ method: 'POST', path: `${JOBS}?dryRun=All`, body: jobOf(FLOW_RUN_ID) })
  t.equal(status, 201)
  return body.metadata.labels?.['prefect.io/parent-task-run-id']
}

t.test('the API server is served by who trusts its client certificate', async t => {
  await registerWebhooks(ask, { port: await listen(trusting.server), caBundle: authority.cert })
  await eventually(labelOfANewJob, {
    until: label => label === PARENT_TASK_RUN_ID,
    what: 'the API server to show its certificate',
  })
  t.pass('labelled')
})

t.test('who trusts others does not serve it, and the Job passes as it is', async t => {
  const refused = Promise.withResolvers<void>()
  distrusting.server.server.once('tlsClientError', () => refused.resolve())
  const port = await listen(distrusting.server)
  const { status } = await ask({
    method: 'PATCH',
    path: `${configurationsPath('MutatingWebhookConfiguration')}/prefect-lifeguard`,
    contentType: 'application/json-patch+json',
    body: [{ op: 'replace', path: '/webhooks/0/clientConfig/service/port', value: port }],
  })
  t.equal(status, 200)
  await eventually(labelOfANewJob, { until: label => label === undefined, what: 'the other registration' })
  await refused.promise
  t.pass('refused in the handshake')
})
