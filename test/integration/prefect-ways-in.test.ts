import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { startControlPlane } from '../cluster/control-plane.ts'
import { startLifeguard } from '../cluster/lifeguard.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { jobs } from '../cluster/resources.ts'
import { createPrivateCa, startGateway } from '../prefect/gateway.ts'

// A control plane, a server and the product, about 5 s each; on a busy machine many times that.
t.setTimeout(300_000)

const LABEL = 'prefect.io/parent-task-run-id'
const PREFIX = '/tools/prefect'
const AUTH = 'lifeguard:pa55'

/**
 * Each way in by itself is tried on the client (prefect-client-ways-in.test.ts). Here the process takes all of them at
 * once, from its environment: without any one of these variables, no request comes through.
 */
t.test('password, CSRF, private authority, headers, prefix and proxy, all by the environment', async t => {
  const controlPlane = await startControlPlane()
  t.teardown(controlPlane.stop)
  const prefect = await startPrefect({ services: false, authString: AUTH, csrf: true })
  t.teardown(prefect.stop)
  const { ca, key, cert } = await createPrivateCa()
  const caFile = join(t.testdir(), 'ca.pem')
  await writeFile(caFile, ca)
  const gateway = await startGateway(t, {
    target: new URL(prefect.apiUrl).origin,
    prefix: PREFIX,
    tls: { key, cert },
    answer: ({ headers }) => (headers['cf-access-client-id'] === 'id' ? undefined : { status: 403 }),
  })
  const proxy = await startGateway(t, { target: 'http://127.0.0.1:1' })
  await using lifeguard = await startLifeguard({
    kubeconfig: controlPlane.kubeconfig,
    apiUrl: `${gateway.origin}${PREFIX}/api`,
    failureState: 'crashed',
    env: {
      PREFECT_API_AUTH_STRING: AUTH,
      PREFECT_API_SSL_CERT_FILE: caFile,
      PREFECT_CLIENT_CUSTOM_HEADERS: '{"CF-Access-Client-Id":"id"}',
      HTTPS_PROXY: proxy.origin,
    },
  })

  const deploymentId = await prefect.api.createDeployment({ name: 'child', flow: 'child' })
  const run = await prefect.api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
  const labels = { 'prefect.io/flow-run-id': run.flowRunId }
  const container = { name: 'prefect-job', image: 'none' }
  const { metadata } = await controlPlane.api.create(jobs, {
    metadata: { name: 'child', labels },
    spec: {
      // No node takes its pod: the Job controller ends it.
      activeDeadlineSeconds: 1,
      template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers: [container] } },
    },
  })
  t.equal(metadata.labels?.[LABEL], run.parentTaskRunId, 'a look-up came through')
  const { state } = await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  t.match(state.message, /^\[deadline_exceeded\]/, 'and a write')
  t.ok(lifeguard.pid > 0)
  t.ok(proxy.tunnels.includes(new URL(gateway.origin).host), 'through the proxy')
  t.ok(gateway.seen.every(({ url }) => url.startsWith(`${PREFIX}/api/`)))
  t.ok(
    gateway.seen.some(({ headers }) => headers['prefect-csrf-token'] !== undefined),
    'with a token against CSRF',
  )
})
