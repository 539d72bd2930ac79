import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { z } from 'zod'
import { check, findingsInWords } from '../../src/commands/check/check.ts'
import type { Finding } from '../../src/commands/check/finding.ts'
import type { Foundation } from '../../src/commands/foundation.ts'
import { once } from '../../src/commands/once.ts'
import { scanAndFix } from '../../src/commands/scan/command.ts'
import { createAuthority } from '../../src/certificates/authority.ts'
import { caBundleOf } from '../../src/certificates/ca-bundle.ts'
import { clientOf } from '../admission/on-cluster.ts'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { writeKubeconfig } from '../cluster/credentials.ts'
import { startLifeguard } from '../cluster/lifeguard.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import type { Job } from '../cluster/resources.ts'
import { anyResource, jobs } from '../cluster/resources.ts'
import { install } from '../manifests/installation.ts'
import { startServe } from '../manifests/product.ts'
import { renderOurs } from '../manifests/render.ts'
import { startGateway } from '../prefect/gateway.ts'

/** `scan` and `check` as a person calls them, against a cluster and a Prefect where nothing of ours is installed. */

t.setTimeout(300_000)

const MAIN = join(import.meta.dirname, '../../src/main.ts')
const FLOW_RUN = 'prefect.io/flow-run-id'
const PARENT = 'prefect.io/parent-task-run-id'

const [controlPlane, prefect] = await Promise.all([startControlPlane(), startPrefect()])
const node = await startProcessNode({ cluster: controlPlane })
const { api } = controlPlane
const { ask, close } = clientOf(controlPlane)
t.teardown(async () => {
  await close()
  await node.stop()
  await prefect.stop()
  await controlPlane.stop()
})

const deploymentId = await prefect.api.createDeployment({ name: 'without-a-worker', flow: 'child' })

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** With a home of its own, so that nobody's Prefect profile gets in. */
const call = (args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
  new Promise(resolve => {
    const all = {
      HOME: prefect.folder,
      KUBECONFIG: controlPlane.kubeconfig,
      PREFECT_API_URL: prefect.apiUrl,
      ...env,
    }
    execFile(process.execPath, [MAIN, ...args], { env: all }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr })
    })
  })

/** A subflow run that Prefect believes to run, and the Job that a worker made for it long before us. */
async function startRun(command: string): Promise<{ flowRunId: string; name: string }> {
  const { flowRunId } = await prefect.api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
  const labels = { [FLOW_RUN]: flowRunId }
  const containers = [{ name: 'main', image: 'none', command: ['sh', '-c', command] }]
  const { metadata } = await api.create(jobs, {
    metadata: { name: `child-${randomUUID().slice(0, 8)}`, labels },
    spec: {
      backoffLimit: 0,
      template: { metadata: { labels }, spec: { restartPolicy: 'Never', containers } },
    },
  })
  return { flowRunId, name: metadata.name }
}

const isFailed = ({ status }: { status?: { conditions?: { type: string; status: string }[] } }): boolean =>
  status?.conditions?.some(({ type, status: is }) => type === 'Failed' && is === 'True') === true

const isLabelled = (job: Job | undefined): boolean => job?.metadata.labels?.[PARENT] !== undefined

const stateOf = async (flowRunId: string): Promise<string | undefined> =>
  (await prefect.api.readFlowRun(flowRunId)).state.type

t.test('scan', async t => {
  const dead = await startRun('exit 3')
  const live = await startRun('sleep 600')
  const { id: topLevel } = await prefect.api.createFlowRun({ deploymentId, state: { type: 'RUNNING' } })
  await api.waitFor(jobs, { name: dead.name }, { until: isFailed, what: 'to fail' })

  await t.test('shows what hangs and what lives, and changes nothing', async t => {
    const { code, stdout, stderr } = await call(['scan'])
    t.strictSame([code, stderr], [1, ''])
    t.match(
      stdout,
      new RegExp(
        `^${dead.flowRunId} +Running +\\d+s +default/${dead.name} +error_exit +Crashed \\(JobFailed\\)$`,
        'm',
      ),
    )
    t.match(
      stdout,
      new RegExp(`^${live.flowRunId} +Running +\\d+s +default/${live.name} +- +(leave it|wait)`, 'm'),
    )
    t.match(stdout, /: \[error_exit\] .* Resolution: /, 'the diagnosis in full')
    t.match(stdout, /^2 live subflow runs, 1 to be moved$/m)
    t.notMatch(stdout, topLevel, 'top-level runs are not ours')
    t.equal(await stateOf(dead.flowRunId), 'RUNNING')
    const job = await api.get(jobs, { name: dead.name })
    t.notOk(Object.keys(job?.metadata.annotations ?? {}).some(key => key.startsWith('prefect-lifeguard')))
  })

  await t.test(
    'tells programs the same, with the trail, and takes Prefect from the active profile',
    async t => {
      const home = t.testdir({
        '.prefect': {
          'profiles.toml': `active = "work"\n[profiles.work]\nPREFECT_API_URL = "${prefect.apiUrl}"\n`,
        },
      })
      const { code, stdout } = await call(['scan', '--json'], { HOME: home, PREFECT_API_URL: '' })
      t.equal(code, 1)
      t.match(JSON.parse(stdout), {
        targets: { cluster: controlPlane.server, prefect: prefect.apiUrl },
        isComplete: true,
        inProcess: 0,
        runs: [
          {
            flowRunId: dead.flowRunId,
            job: { name: `default/${dead.name}`, is: 'here' },
            isMove: true,
            verdict: { kind: 'crash', reason: 'JobFailed', diagnosis: { code: 'error_exit', exitCode: 3 } },
            trail: { rules: Array },
          },
          { flowRunId: live.flowRunId, isMove: false },
        ],
      })
    },
  )

  await t.test('says so where it may not look', async t => {
    const { server, ca } = controlPlane
    const kubeconfig = await writeKubeconfig(t.testdir({}), { server, ca, token: 'nobody' })
    const { code, stdout, stderr } = await call(['scan'], { KUBECONFIG: kubeconfig })
    t.strictSame([code, stdout], [3, ''])
    t.match(stderr, /^GET .*\/(jobs|pods): 401 Unauthorized: Unauthorized\n$/)
  })

  await t.test('asks before it fixes, and takes no for an answer', async t => {
    const asked: string[] = []
    const isAgreed = async (question: string) => {
      asked.push(question)
      return false
    }
    const code = await inProcess(foundation =>
      scanAndFix(
        foundation,
        { options: { fix: true }, conversation: { print: () => {}, isAgreed } },
        AbortSignal.timeout(60_000),
      ),
    )
    t.equal(code, 1)
    t.match(asked, [/Move 1 of them\?/])
    t.equal(await stateOf(dead.flowRunId), 'RUNNING')
  })

  await t.test('fixes what it has shown, tells of it everywhere, and leaves the living alone', async t => {
    const { code, stdout, stderr } = await call(['scan', '--fix', '--yes'])
    t.strictSame([code, stderr], [0, ''])
    t.match(stdout, new RegExp(`^${dead.flowRunId} +moved +Crashed`, 'm'))
    const { state } = await prefect.api.readFlowRun(dead.flowRunId)
    t.match(state, { type: 'CRASHED', message: /^\[error_exit\]/ })
    const job = await api.get(jobs, { name: dead.name })
    t.match(job?.metadata.annotations, { 'prefect-lifeguard.dev/diagnosis': /^\[error_exit\]/ })
    await eventually(() => prefect.api.readLogs(dead.flowRunId), {
      until: lines => lines.some(({ message }) => message.startsWith('[error_exit]')),
      what: "the line in the run's logs",
    })
    t.equal(await stateOf(live.flowRunId), 'RUNNING')
  })

  await t.test('has nothing more to do then', async t => {
    const { code, stdout } = await call(['scan', '--json'])
    t.equal(code, 0)
    t.match(JSON.parse(stdout), { runs: [{ flowRunId: live.flowRunId, isMove: false }] })
  })
})

t.test('dev labels again what lost its label, and does not warn of itself', async t => {
  await using lifeguard = await startLifeguard({
    kubeconfig: controlPlane.kubeconfig,
    apiUrl: prefect.apiUrl,
  })
  const { name } = await startRun('sleep 600')
  t.ok(isLabelled(await api.get(jobs, { name })), 'by admission')
  // By the same user as it is here: nobody is warned of that either.
  await api.patch(jobs, { name }, { body: { metadata: { labels: { [PARENT]: null } } } })
  await api.waitFor(jobs, { name }, { until: isLabelled, what: 'to be labelled again' })
  // Lines that go well along are written together, a moment later.
  const isUpdate = (line: Readonly<Record<string, unknown>>): boolean =>
    line['operation'] === 'UPDATE' && line['name'] === name
  const updates = await eventually(async () => lifeguard.lines().filter(isUpdate), {
    until: ({ length }) => length >= 2,
    what: 'both updates in the log',
  })
  t.strictSame(
    [...new Set(updates.map(({ outcome }) => outcome))],
    ['not_ours'],
    'and whatever came after them',
  )
  t.strictSame(
    lifeguard.lines().filter(({ outcome }) => outcome === 'warned'),
    [],
  )
})

/** In this process, for a start of its own takes longer than a look. */
function inProcess<T>(
  work: (foundation: Foundation) => Promise<T>,
  { KUBECONFIG = controlPlane.kubeconfig, ...settings }: Readonly<Record<string, string>> = {},
): Promise<T> {
  process.env['KUBECONFIG'] = KUBECONFIG
  return once({ HOME: prefect.folder, PREFECT_API_URL: prefect.apiUrl, ...settings }, work)
}

/** What `check` finds. */
async function look(
  t: Test,
  env: Readonly<Record<string, string>> = {},
  whose: { asInstalled?: boolean } = {},
): Promise<readonly Finding[]> {
  const findings = await inProcess(foundation => check(foundation, whose, AbortSignal.timeout(60_000)), env)
  for (const { name, health, advice } of findings)
    if (health === 'error' || health === 'warning') t.ok(advice, `${name}: says what to do`)
  return findings
}

const wrongIn = (findings: readonly Finding[]): readonly string[] =>
  findings.filter(({ health }) => health === 'error').map(({ name, detail }) => `${name}: ${detail}`)

t.test('check, where nothing is installed', async t => {
  const { code, stdout, stderr } = await call(['check', '--json'])
  t.strictSame([code, stderr], [1, ''])
  const findings = await look(t)
  t.match(JSON.parse(stdout), {
    isWell: false,
    findings: findings.map(({ name, health }) => ({ name, health })),
  })
  t.strictSame(
    wrongIn(findings).map(text => text.replace(/:.*/, '')),
    ['MutatingWebhookConfiguration', 'ValidatingWebhookConfiguration', 'way to the webhook'],
    'both APIs, clocks and the rights of an administrator are well',
  )
  const text = findingsInWords(findings, { context: 'c', cluster: 'k', prefect: 'p' })
  t.match(text, /^ERROR +way to the webhook +there is no namespace prefect-lifeguard$/m)
  t.match(text, /^What to do\n(.*\n)*way to the webhook: nothing is installed: docs\/install\.md\.$/m)
})

t.test('check, of an installation', async t => {
  const folder = t.testdir({})
  const base = await renderOurs('base')
  const installation = await install({ ask, controlPlane, folder }, base)
  const product = await startServe({ ...installation.env, PREFECT_API_URL: prefect.apiUrl })
  t.teardown(() => product.kill())
  const isReady = async () => (await fetch(`http://localhost:${installation.operationsPort}/readyz`)).ok
  await eventually(isReady, { until: ok => ok, what: 'the replica to be ready', timeoutMs: 90_000 })
  const asItself = { KUBECONFIG: installation.env['KUBECONFIG'] ?? '' }

  await t.test('all is well, for the administrator and for the service account itself', async t => {
    t.strictSame(wrongIn(await look(t)), [])
    t.strictSame(wrongIn(await look(t, {}, { asInstalled: true })), [])
    const findings = await look(t, asItself)
    t.strictSame(wrongIn(findings), [])
    t.strictSame(
      findings.filter(({ health }) => health === 'skipped'),
      [],
      'and nothing was left out',
    )
  })

  await t.test('its status page tells of the run that dies next, with the rules that were asked', async t => {
    const { flowRunId } = await startRun('exit 3')
    const text = await eventually(() => bodyOf(`http://localhost:${installation.operationsPort}/`), {
      until: body => body.includes('[error_exit]'),
      what: 'the verdict on the page',
      timeoutMs: 60_000,
    })
    t.match(text, flowRunId)
    t.match(text, 'runIsDead: report JobFailed')
    t.match(text, 'This replica leads')
    t.match(text, 'no state is changed')
    t.notMatch(text, 'class="ill"', 'every part is well')
  })

  await t.test('another Prefect, other clocks', async t => {
    const { origin: target } = new URL(prefect.apiUrl)
    const faults: Readonly<
      Record<
        string,
        { answer: { status: number; headers?: Record<string, string>; body: string }; finds: RegExp }
      >
    > = {
      'a clock that is an hour ahead': {
        answer: {
          status: 200,
          headers: { date: new Date(Date.now() + 3_600_000).toUTCString() },
          body: '"3.8.8"',
        },
        finds: /^clocks: Kubernetes as here, Prefect (1h|59m\d+s) ahead: /,
      },
      'a Prefect of another age': {
        answer: { status: 200, body: '"2.20.1"' },
        finds: /^Prefect version: 2\.20\.1$/,
      },
    }
    for (const [sentence, { answer, finds }] of Object.entries(faults)) {
      const { origin } = await startGateway(t, {
        target,
        answer: ({ url }) => (url === '/api/admin/version' ? answer : undefined),
      })
      t.match(wrongIn(await look(t, { PREFECT_API_URL: `${origin}/api` })), [finds], sentence)
    }
    const refused = wrongIn(await look(t, { PREFECT_API_URL: `${prefect.apiUrl}/wrong` }))
    t.match(refused, [/^Prefect API: .*check PREFECT_API_URL/], 'an address of something else')
  })

  await t.test('a work pool that Prefect does not have is named, those it has are not', async t => {
    await prefect.api.send('POST', '/work_pools/', { name: 'here', type: 'kubernetes' })
    const found = async (names: string) =>
      (await look(t, { LIFEGUARD_WORK_POOLS: names })).find(({ name }) => name === 'LIFEGUARD_WORK_POOLS')
    t.match(await found(''), { health: 'ok', detail: /^unset/ })
    t.match(await found('here'), { health: 'ok', detail: 'in Prefect: here' })
    t.match(await found('here,heer'), { health: 'warning', detail: 'not in Prefect: heer' })
  })

  await t.test("Prefect's own observer is seen by its events", async t => {
    await prefect.api.send('POST', '/events', [podEvent()])
    const seen = await eventually(() => look(t), {
      until: findings =>
        findings.some(({ name, health }) => name === "Prefect's own observer" && health === 'warning'),
      what: 'the event to be stored',
    })
    t.match(
      seen.find(({ name }) => name === "Prefect's own observer")?.advice,
      'PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ENABLED=false',
    )
  })

  await t.test('rights, registration and certificates that somebody took away or changed', async t => {
    await product.kill()
    t.match(
      wrongIn(await look(t)),
      [/^way to the webhook: the API server did not call our webhook/],
      'nobody listens',
    )
    await api.remove(clusterRoleBindings, { name: 'prefect-lifeguard-nodes' })
    t.match(
      wrongIn(await look(t, asItself))[0],
      /^rights of prefect-lifeguard-nodes: not granted: get nodes$/,
      'a right is missing',
    )
    const now = Date.now()
    const bundles: Readonly<Record<string, { from: number; to: number; finds: RegExp }>> = {
      'an authority that is over': {
        from: now - 7_200_000,
        to: now - 3_600_000,
        finds: /no certificate in it is good today/,
      },
      'an authority of somebody else': {
        from: now - 3_600_000,
        to: now + 3_600_000,
        finds: /does not hold the authority in our Secret/,
      },
    }
    for (const [sentence, { from, to, finds }] of Object.entries(bundles)) {
      const { cert } = await createAuthority({ notBefore: new Date(from), notAfter: new Date(to) })
      await changeWebhooks({ caBundle: caBundleOf([cert]) })
      t.match(
        wrongIn(await look(t)).find(text => text.startsWith('caBundle of Mutating')),
        finds,
        sentence,
      )
    }
    await changeWebhooks({ service: { namespace: 'elsewhere', name: 'other', path: '/mutate' } })
    t.match(
      wrongIn(await look(t)).find(text => text.startsWith('Mutating')),
      /jobs\.mutate\.prefect-lifeguard\.dev.*: calls something else than Service prefect-lifeguard\/prefect-lifeguard$/,
      'another Service',
    )
    await api.patch(mutating, { name: 'prefect-lifeguard' }, { body: { webhooks: [] } })
    t.match(
      wrongIn(await look(t)).find(text => text.startsWith('Mutating')),
      /lacks jobs\.mutate/,
      'no webhooks in it',
    )
  })
})

const bodyOf = async (url: string): Promise<string> => (await fetch(url)).text()

const cluster = (apiVersion: string, kind: string) =>
  anyResource({ apiVersion, kind, plural: `${kind.toLowerCase()}s`, namespaced: false })
const clusterRoleBindings = cluster('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding')
const mutating = cluster('admissionregistration.k8s.io/v1', 'MutatingWebhookConfiguration')

/** Of every webhook of the registration. */
async function changeWebhooks(clientConfig: object): Promise<void> {
  const registration = await api.get(mutating, { name: 'prefect-lifeguard' })
  const { webhooks } = z
    .looseObject({ webhooks: z.array(z.looseObject({ clientConfig: z.looseObject({}) })) })
    .parse(registration)
  for (const webhook of webhooks) Object.assign(webhook.clientConfig, clientConfig)
  await api.patch(mutating, { name: 'prefect-lifeguard' }, { body: { webhooks } })
}

/** As prefect-kubernetes 0.8.0 sends one for each phase of each pod. */
const podEvent = () => ({
  id: randomUUID(),
  occurred: new Date().toISOString(),
  event: 'prefect.kubernetes.pod.running',
  resource: { 'prefect.resource.id': `prefect.kubernetes.pod.${randomUUID()}` },
  related: [],
  payload: {},
})
