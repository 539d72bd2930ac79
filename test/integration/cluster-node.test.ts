import { spawn } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { eventually } from '../cluster/api.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import { isAlive } from '../cluster/kill.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import { configMaps, events, jobs, nodes, pods, secrets } from '../cluster/resources.ts'
import type { Job, Node, Pod } from '../cluster/resources.ts'
import { normalStatus, recordedStatuses } from '../cluster/node/recorded-statuses.ts'

// One control plane and two nodes for all: about 5 s on an idle machine, several times that on a busy one.
t.setTimeout(300_000)

/** Starting all, and what a pod may take on a busy machine. */
const TIMEOUT_MS = 60_000

const controlPlane = await startControlPlane({ jobBackOff: '1s', nodeMonitorGraceSeconds: 6 })
const { api } = controlPlane
const node = await startProcessNode({ cluster: controlPlane, name: 'patient' })
const hasty = await startProcessNode({
  cluster: controlPlane,
  name: 'hasty',
  backOff: { firstMs: 100, mostMs: 400 },
})
t.teardown(async () => {
  await Promise.all([node.stop(), hasty.stop()])
  await controlPlane.stop()
})

/** Says its process id ($$$$: Kubernetes makes one $ of two) once it is ready. Ends well on SIGTERM, by itself never. */
const OBEDIENT = 'trap "exit 0" TERM; echo $$$$; while :; do sleep 0.05; done'
const STUBBORN = 'trap "" TERM; echo $$$$; while :; do sleep 0.05; done'

t.test('a Job whose pods all fail becomes Failed after backoffLimit + 1 of them', async t => {
  await createJob('fails', { script: 'exit 3', backoffLimit: 2 })
  const job = await untilJob('fails', 'Failed')
  t.match(job.status, { failed: 3, conditions: [{}, { type: 'Failed', reason: 'BackoffLimitExceeded' }] })
  const all = await podsOf('fails')
  t.same(
    all.map(pod => pod.status.containerStatuses[0]?.state.terminated?.exitCode),
    [3, 3, 3],
  )
})

t.test('a Job whose second pod succeeds becomes Complete', async t => {
  const annotations = { 'process-node.test/play': 'OOMKilled', 'process-node.test/times': '1' }
  await createJob('second', { script: 'sleep 0.2', backoffLimit: 2, annotations })
  t.match((await untilJob('second', 'Complete')).status, { failed: 1, succeeded: 1 })
})

t.test('statuses are those a kubelet wrote', async t => {
  const cases: Record<string, Scenario> = {
    'the kernel kills a container for its memory': {
      recording: 'a_oom_container',
      annotations: { 'process-node.test/play': 'OOMKilled' },
    },
    'somebody kills a container': {
      recording: 'b_sigkill',
      meanwhile: pod => whenRunning(pod, () => node.kill(pod, 'SIGKILL')),
    },
    'a container ends well': {
      recording: 'm_exit0_silent',
      meanwhile: pod => whenRunning(pod, () => node.kill(pod, 'SIGTERM')),
    },
    'a container fails again and again': {
      recording: 'g_onfailure_loop',
      until: /CrashLoopBackOff/,
      spec: { restartPolicy: 'OnFailure' },
      script: `if [ -e again ]; then exit 3; fi; touch again; ${OBEDIENT}`,
      meanwhile: pod => whenRunning(pod, () => node.kill(pod, 'SIGKILL')),
    },
    'an image cannot be pulled': {
      recording: 'h_image_pull',
      on: 'hasty',
      image: 'local.test/no-such-image:1',
      annotations: {
        'process-node.test/play': 'ImagePullBackOff',
        'process-node.test/message':
          'failed to pull and unpack image "local.test/no-such-image:1": failed to resolve reference ' +
          '"local.test/no-such-image:1": failed to do request: Head "https://local.test/v2/no-such-image/manifests/1": ' +
          'dial tcp: lookup local.test on 10.255.255.53:53: no such host',
      },
    },
    'a Secret is missing': {
      recording: 'j_missing_secret',
      env: [{ name: 'S', valueFrom: { secretKeyRef: { name: 'no-such-secret', key: 'k' } } }],
    },
    'the ConfigMap of a volume is missing': {
      recording: 'k_missing_configmap',
      spec: { volumes: [{ name: 'cm', configMap: { name: 'no-such-configmap' } }] },
    },
    'an init container fails': {
      recording: 'l_init_fails',
      spec: { initContainers: [{ name: 'setup', image: 'x', command: ['sh', '-c', 'exit 7'] }] },
    },
    'the kubelet evicts a pod': {
      recording: 'u_ephemeral_eviction',
      meanwhile: pod => whenRunning(pod, () => node.evict(pod)),
    },
    'a pod is deleted while it runs': {
      recording: 'f_active_deadline',
      script: OBEDIENT.replace('exit 0', 'exit 1'),
      meanwhile: pod => whenRunning(pod, () => api.remove(pods, { name: pod })),
    },
  }
  for (const [what, scenario] of Object.entries(cases)) {
    t.test(what, async t => {
      const name = scenario.recording.replaceAll('_', '-')
      const expected = await recordedStatuses(scenario.recording, scenario.until)
      const seen = await play(name, { scenario, expected })
      t.same(
        missingFrom(seen, expected),
        [],
        `none of ${expected.length} statuses is missing or out of order`,
      )
      await api.remove(pods, { name }, { gracePeriodSeconds: 0 })
    })
  }
})

t.test('Events are those a kubelet records', async t => {
  await createPod('events', { script: 'exit 0' })
  await untilPod('events', 'Succeeded')
  const { metadata } = (await api.get(pods, { name: 'events' })) ?? {}
  const { items } = await eventually(
    () => api.list(events, { namespace: 'default', fieldSelector: `involvedObject.uid=${metadata?.uid}` }),
    { until: ({ items }) => items.some(({ reason }) => reason === 'Started'), what: 'the Event Started' },
  )
  t.match(Object.fromEntries(items.map(({ reason, message }) => [reason, message])), {
    Scheduled: 'Successfully assigned default/events to patient',
    Pulled: 'Container image "local.test/x:1" already present on machine',
    Created: 'Created container: main',
    Started: 'Started container main',
  })
})

t.test('a deletion gives grace, and ends it', async t => {
  await t.test('who obeys SIGTERM goes at once', async t => {
    await createPod('obeys', { script: OBEDIENT })
    await pidOf('obeys')
    await api.remove(pods, { name: 'obeys' })
    await api.waitUntilGone(pods, { name: 'obeys' }, TIMEOUT_MS)
    t.pass('long before its 30 s')
  })
  await t.test('who does not is killed when the grace is over', async t => {
    const finalizers = ['test/look']
    await createPod('stubborn', { script: STUBBORN, finalizers })
    await pidOf('stubborn')
    await api.remove(pods, { name: 'stubborn' }, { gracePeriodSeconds: 1 })
    const pod = await untilPod('stubborn', 'Failed')
    t.match(pod.status.containerStatuses[0]?.state.terminated, { exitCode: 137, reason: 'Error' })
    await api.waitFor(
      pods,
      { name: 'stubborn' },
      {
        until: ({ metadata }) => metadata.deletionGracePeriodSeconds === 0,
        what: 'to be given up by the node',
      },
    )
    await api.patch(pods, { name: 'stubborn' }, { body: { metadata: { finalizers: null } } })
    await api.waitUntilGone(pods, { name: 'stubborn' })
  })
  await t.test('who is deleted by force is killed at once', async t => {
    await createPod('forced', { script: STUBBORN })
    const pid = await pidOf('forced')
    await api.remove(pods, { name: 'forced' }, { gracePeriodSeconds: 0 })
    await untilDead(pid)
    t.pass()
  })
})

t.test('a container takes all its processes with it, wherever they put themselves', async t => {
  await createPod('family', { script: 'setsid sleep 1000 & echo $!; wait' })
  const pid = await pidOf('family')
  t.ok(await isAlive(pid))
  node.kill('default/family', 'OOMKilled')
  await untilPod('family', 'Failed')
  t.notOk(await isAlive(pid))
  t.throws(() => node.kill('family', 'SIGKILL'), /container main of pod family_default\(\S+\) does not run/)
  t.throws(() => node.kill('nobody', 'SIGKILL'), /node patient runs no pod nobody/)
})

t.test('logs go through the apiserver', async t => {
  await createPod('logs', { script: 'for i in 1 2 3 4; do echo line $i; done; echo problem >&2' })
  await untilPod('logs', 'Succeeded')
  const path = '/api/v1/namespaces/default/pods/logs/log'
  t.equal(await api.text(path), 'line 1\nline 2\nline 3\nline 4\nproblem\n')
  t.equal(await api.text(`${path}?tailLines=2`), 'line 4\nproblem\n')
  t.equal(await api.text(`${path}?limitBytes=6`), 'line 1')
  await createPod('follow', { script: 'echo one; while [ ! -e go ]; do sleep 0.05; done; echo two' })
  await untilPod('follow', 'Running')
  const followed = api.text('/api/v1/namespaces/default/pods/follow/log?follow=true')
  await eventually(() => api.text('/api/v1/namespaces/default/pods/follow/log'), {
    until: text => text === 'one\n',
    what: 'pod follow to write',
  })
  node.kill('follow', 'SIGKILL')
  t.equal(await followed, 'one\n', 'following ends with the container')
})

t.test('a container has the environment its spec gives it, and little else', async t => {
  await api.create(secrets, { metadata: { name: 'keys' }, data: { password: btoa('secret') } })
  await api.create(configMaps, { metadata: { name: 'settings' }, data: { colour: 'blue', size: '3' } })
  await createPod('environment', {
    script: "env | sort; pwd; echo '$(GREETING)' '$$(GREETING)'",
    labels: { app: 'x' },
    container: {
      envFrom: [{ prefix: 'CM_', configMapRef: { name: 'settings' } }],
      env: [
        { name: 'WHO', value: 'world' },
        { name: 'GREETING', value: 'hello $(WHO) $(UNKNOWN)' },
        { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        { name: 'APP', valueFrom: { fieldRef: { fieldPath: "metadata.labels['app']" } } },
        { name: 'NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } },
        { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'keys', key: 'password' } } },
        { name: 'COLOUR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'colour' } } },
        { name: 'NONE', valueFrom: { secretKeyRef: { name: 'none', key: 'x', optional: true } } },
      ],
      workingDir: '/',
    },
  })
  await untilPod('environment', 'Succeeded')
  const lines = (await api.text('/api/v1/namespaces/default/pods/environment/log')).trim().split('\n')
  const names = lines.flatMap(line => /^(\w+)=/.exec(line)?.[1] ?? [])
  // tap adds its own to whatever a test starts.
  const others = /^(_|SHLVL|OLDPWD|PWD|NODE_OPTIONS|_TAPJS_\w+)$/
  const ofTheNode = ['HOME', 'HOSTNAME', 'PATH', 'PROCESS_NODE', 'PROCESS_NODE_CONTAINER']
  const ofTheSpec = ['APP', 'CM_colour', 'CM_size', 'COLOUR', 'GREETING', 'NODE', 'PASSWORD', 'POD', 'WHO']
  t.strictSame(names.filter(name => !others.test(name)).toSorted(), [...ofTheNode, ...ofTheSpec].toSorted())
  for (const line of [
    'GREETING=hello world $(UNKNOWN)',
    'APP=x',
    'NODE=patient',
    'PASSWORD=secret',
    'COLOUR=blue',
  ]) {
    t.ok(lines.includes(line), line)
  }
  t.same(lines.slice(-2), ['/', 'hello world $(UNKNOWN) $(GREETING)'])
})

t.test('init containers run one after the other, a sidecar beside the rest', async t => {
  const log = t.testdir()
  const note = (who: string) => `echo ${who} >> ${log}/order`
  await createPod('inits', {
    script: note('main'),
    spec: {
      initContainers: [
        { name: 'first', ...sh(note('first')) },
        {
          name: 'side',
          restartPolicy: 'Always',
          ...sh(`trap '${note('side')}; exit 0' TERM; ${note('begin')}; while :; do sleep 0.05; done`),
        },
        {
          name: 'second',
          ...sh(`while ! grep -q begin ${log}/order; do sleep 0.05; done; ${note('second')}`),
        },
      ],
    },
  })
  const pod = await untilPod('inits', 'Succeeded')
  t.same((await readFile(`${log}/order`, 'utf8')).trim().split('\n'), [
    'first',
    'begin',
    'second',
    'main',
    'side',
  ])
  t.match(pod.status.initContainerStatuses, [
    { name: 'first', ready: true, state: { terminated: { reason: 'Completed' } } },
    { name: 'side', state: { terminated: { exitCode: 0 } } },
    { name: 'second', ready: true },
  ])
})

t.test('restartPolicy Always starts again whatever ended well, with longer and longer waits', async t => {
  await createPod('always', { script: 'exit 0', on: 'hasty', spec: { restartPolicy: 'Always' } })
  const pod = await api.waitFor(
    pods,
    { name: 'always' },
    {
      until: ({ status }) => (status.containerStatuses[0]?.restartCount ?? 0) >= 3,
      what: 'to be started three times more',
      timeoutMs: TIMEOUT_MS,
    },
  )
  t.equal(pod.status.phase, 'Running')
  await api.remove(pods, { name: 'always' }, { gracePeriodSeconds: 0 })
})

t.test('a pod that is active for too long fails', async t => {
  await createPod('deadline', { script: OBEDIENT, spec: { activeDeadlineSeconds: 1 } })
  const pod = await untilPod('deadline', 'Failed')
  t.match(pod.status, {
    reason: 'DeadlineExceeded',
    message: 'Pod was active on the node longer than the specified deadline',
    containerStatuses: [{ state: { terminated: {} } }],
  })
})

t.test('what cannot be started says so', async t => {
  const cases: Record<string, { container?: object; annotations?: Record<string, string>; state: object }> = {
    'no such program': {
      container: { command: ['no-such-program'] },
      state: {
        terminated: {
          exitCode: 128,
          reason: 'StartError',
          message: /exec: "no-such-program": executable file/,
        },
      },
    },
    'no command': {
      container: { command: [] },
      state: { waiting: { reason: 'CreateContainerError', message: /no command specified/ } },
    },
    'no such key': {
      container: {
        env: [{ name: 'A', valueFrom: { configMapKeyRef: { name: 'kube-root-ca.crt', key: 'none' } } }],
      },
      state: {
        waiting: {
          reason: 'CreateContainerConfigError',
          message: "couldn't find key none in ConfigMap default/kube-root-ca.crt",
        },
      },
    },
    'an image name that is none': {
      annotations: { 'process-node.test/play': 'InvalidImageName' },
      state: { waiting: { reason: 'InvalidImageName', message: /couldn't parse image name/ } },
    },
    'a play that is none': {
      annotations: { 'process-node.test/play': 'Explosion' },
      state: {
        waiting: {
          reason: 'CreateContainerConfigError',
          message: /annotation process-node\.test\/play is "Explosion", and may be one of OOMKilled, /,
        },
      },
    },
  }
  for (const [what, { container, annotations, state }] of Object.entries(cases)) {
    const name = what.replaceAll(' ', '-')
    await createPod(name, {
      script: 'exit 0',
      ...(container ? { container } : {}),
      ...(annotations ? { annotations } : {}),
    })
    const pod = await api.waitFor(
      pods,
      { name },
      {
        until: ({ status }) => /Error|Invalid/.test(JSON.stringify(status.containerStatuses)),
        what: 'to say why it does not start',
        timeoutMs: TIMEOUT_MS,
      },
    )
    t.match(pod.status.containerStatuses[0]?.state, state, what)
    await api.remove(pods, { name }, { gracePeriodSeconds: 0 })
  }
})

t.test('an outage of the API changes nothing for what runs, and is made up for afterwards', async t => {
  const folder = t.testdir()
  await createPod('survives', {
    script: `while [ ! -e ${folder}/end ]; do sleep 0.05; done; touch ${folder}/ended; exit 4`,
  })
  await createPod('forgotten', { script: STUBBORN })
  const pid = await pidOf('forgotten')
  await untilPod('survives', 'Running')
  await controlPlane.stopApiserver('SIGKILL')
  await writeFile(`${folder}/end`, '')
  await eventually(() => readFile(`${folder}/ended`), {
    until: () => true,
    what: 'the container to end meanwhile',
  })
  t.ok(await isAlive(pid))
  await controlPlane.startApiserver()
  const pod = await untilPod('survives', 'Failed')
  t.match(pod.status.containerStatuses[0]?.state.terminated, { exitCode: 4 })
  await api.remove(pods, { name: 'forgotten' }, { gracePeriodSeconds: 0 })
  await untilDead(pid)
})

t.test('a node can be lost, and come back', async t => {
  const other = await startProcessNode({ cluster: controlPlane, name: 'lost' })
  t.teardown(other.stop)
  await createPod('cut-off', { script: OBEDIENT, on: 'lost' })
  const pid = await pidOf('cut-off')

  await other.goDown('NotReady')
  await untilNode('lost', 'False')
  await other.comeBack()

  await other.goDown('CutOff')
  await untilNode('lost', 'Unknown')
  t.ok(await isAlive(pid), 'its containers go on')
  await other.comeBack()
  t.match((await api.get(pods, { name: 'cut-off' }))?.status.phase, 'Running')

  await other.goDown('Gone')
  await untilDead(pid)
  t.match((await api.get(pods, { name: 'cut-off' }))?.status.phase, 'Running', 'nobody has told')
  await other.comeBack()
  const pod = await untilPod('cut-off', 'Failed')
  t.match(pod.status.containerStatuses[0]?.state.terminated, { exitCode: 255, reason: 'Unknown' })

  await other.stop()
  t.equal(await api.get(nodes, { name: 'lost' }), undefined, 'a node that is stopped is gone from the API')
})

t.test('containers do not outlive the process that runs their node, even when it is killed', async t => {
  const { server, ca, token } = controlPlane
  const script = `
    import { startProcessNode } from ${JSON.stringify(new URL('../cluster/process-node.ts', import.meta.url).href)}
    const cluster = ${JSON.stringify({ server, ca, token })}
    await startProcessNode({ cluster, name: 'mortal' })
    setInterval(() => {}, 60_000)
  `
  const other = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' })
  t.teardown(() => other.kill('SIGKILL'))
  await untilNode('mortal', 'True')
  await createPod('orphan', { script: `setsid sh -c '${STUBBORN}'`, on: 'mortal' })
  const pid = await pidOf('orphan')
  other.kill('SIGKILL')
  await untilDead(pid)
})

// ---- words for the above

interface PodWords {
  readonly script: string
  readonly on?: 'patient' | 'hasty' | 'lost' | 'mortal'
  readonly image?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly labels?: Readonly<Record<string, string>>
  readonly finalizers?: readonly string[]
  readonly containerName?: string
  readonly container?: object
  readonly spec?: object
}

function createPod(name: string, words: PodWords): Promise<Pod> {
  const {
    script,
    on = 'patient',
    image = 'local.test/x:1',
    annotations = {},
    labels = {},
    finalizers = [],
  } = words
  const container = {
    name: words.containerName ?? 'main',
    image,
    command: ['sh', '-c', script],
    ...words.container,
  }
  return api.create(pods, {
    metadata: { name, annotations, labels, finalizers },
    spec: {
      restartPolicy: 'Never',
      nodeSelector: { 'kubernetes.io/hostname': on },
      containers: [container],
      ...words.spec,
    },
  })
}

function untilPod(name: string, phase: string): Promise<Pod> {
  const until = ({ status }: Pod): boolean => status.phase === phase
  return api.waitFor(pods, { name }, { until, what: `to be ${phase}`, timeoutMs: TIMEOUT_MS })
}

/** What the first container has written when it is ready: a process id. */
async function pidOf(name: string): Promise<number> {
  await untilPod(name, 'Running')
  const text = await eventually(() => api.text(`/api/v1/namespaces/default/pods/${name}/log`), {
    until: text => /^\d+\n/.test(text),
    what: `pod ${name} to write its process id`,
  })
  return Number.parseInt(text, 10)
}

function sh(script: string) {
  return { image: 'x', command: ['sh', '-c', script] }
}

function untilDead(pid: number): Promise<unknown> {
  return eventually(() => isAlive(pid), { until: alive => !alive, what: `process ${pid} to end` })
}

interface JobWords {
  readonly script: string
  readonly backoffLimit: number
  readonly annotations?: Readonly<Record<string, string>>
}

function createJob(name: string, { script, backoffLimit, annotations = {} }: JobWords): Promise<Job> {
  const spec = {
    restartPolicy: 'Never',
    nodeSelector: { 'kubernetes.io/hostname': 'patient' },
    containers: [{ name: 'main', image: 'local.test/x:1', command: ['sh', '-c', script] }],
  }
  return api.create(jobs, {
    metadata: { name },
    spec: { backoffLimit, template: { metadata: { annotations }, spec } },
  })
}

function untilJob(name: string, condition: 'Complete' | 'Failed'): Promise<Job> {
  const until = ({ status }: Job): boolean => hasCondition(status.conditions, condition, 'True')
  return api.waitFor(jobs, { name }, { until, what: `to be ${condition}`, timeoutMs: TIMEOUT_MS })
}

async function podsOf(job: string): Promise<Pod[]> {
  const { items } = await api.list(pods, { namespace: 'default', labelSelector: `job-name=${job}` })
  return items
}

function untilNode(name: string, ready: 'True' | 'False' | 'Unknown'): Promise<unknown> {
  const until = ({ status }: Node): boolean => hasCondition(status.conditions, 'Ready', ready)
  return api.waitFor(nodes, { name }, { until, what: `to be Ready: ${ready}`, timeoutMs: TIMEOUT_MS })
}

function hasCondition(conditions: Job['status']['conditions'], type: string, status: string): boolean {
  return conditions.some(condition => condition.type === type && condition.status === status)
}

interface Scenario {
  /** Folder under test/fixtures/recorded. */
  readonly recording: string
  /** Compared up to the first status that matches. */
  readonly until?: RegExp
  readonly script?: string
  readonly on?: 'hasty'
  readonly image?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly env?: readonly object[]
  readonly spec?: object
  /** What is done to the pod. */
  readonly meanwhile?: (pod: string) => Promise<void>
}

async function whenRunning(pod: string, act: () => void | Promise<void>): Promise<void> {
  await pidOf(pod)
  await act()
}

/** Runs a pod through a scenario and gives every status it had, until all expected have been seen or the time is up. */
async function play(
  name: string,
  { scenario, expected }: { readonly scenario: Scenario; readonly expected: readonly object[] },
): Promise<object[]> {
  const seen: object[] = []
  const over = new AbortController()
  const { resourceVersion } = await api.list(pods, { namespace: 'default' })
  const watched = api.watch(pods, {
    query: { namespace: 'default', fieldSelector: `metadata.name=${name}` },
    resourceVersion,
    signal: over.signal,
    onEvent: ({ object }) => seen.push(normalStatus(object)),
  })
  await createPod(name, podOf(scenario))
  await scenario.meanwhile?.(name)
  const deadline = Date.now() + TIMEOUT_MS
  while (missingFrom(seen, expected).length > 0 && Date.now() < deadline) await sleep(50)
  over.abort()
  await watched.catch(() => {})
  return seen
}

function podOf({ env = [], image = 'local.test/prefect:1', ...words }: Scenario): PodWords {
  return { script: OBEDIENT, ...words, containerName: 'prefect-job', container: { env, image } }
}

/** What of `expected` does not appear in `seen`, in this order. A kubelet may leave out a status it is too late for; so may we not. */
function missingFrom(seen: readonly object[], expected: readonly object[]): readonly object[] {
  let position = 0
  for (const status of seen) {
    if (JSON.stringify(status) === JSON.stringify(expected[position])) position += 1
  }
  return expected.slice(position)
}
