import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { eventually, isStatus } from '../cluster/api.ts'
import { ensurePrograms, kubernetesVersion } from '../cluster/build.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'
import { isAlive } from '../cluster/kill.ts'
import { namespaces, pods, serviceAccounts } from '../cluster/resources.ts'

// Each control plane takes 3 s to start on an idle machine, and several times that on a busy one.
t.setTimeout(180_000)

const CONTROL_PLANE = new URL('../cluster/control-plane.ts', import.meta.url).href

t.test('two control planes run side by side and leave nothing behind', async t => {
  const [first, second] = await Promise.all([startControlPlane(), startControlPlane()])
  t.teardown(() => Promise.all([first.stop(), second.stop()]))

  const name = 'only-in-the-first'
  await first.api.create(namespaces, { metadata: { name } })
  t.ok(await first.api.get(namespaces, { name }))
  t.equal(await second.api.get(namespaces, { name }), undefined, 'each has data of its own')
  t.match(await first.api.text('/version'), /"gitVersion": "v1\.37\.\d+"/, 'kubectl can parse the version')

  const processes = [...pidsOf(first), ...pidsOf(second)]
  t.equal((await livingOf(processes)).length, 8)
  await Promise.all([first.stop(), second.stop()])
  t.same(await livingOf(processes), [], 'no process is left')
  t.notOk(existsSync(first.folder))
  t.notOk(existsSync(second.folder))
  await t.resolves(first.stop(), 'stopping twice does no harm')
})

t.test('a control plane does not outlive the process that started it', async t => {
  for (const [how, end] of Object.entries({
    'killed with SIGKILL': 'process.kill(process.pid, "SIGKILL")',
    'stopped with Ctrl-C': 'process.kill(process.pid, "SIGINT")',
    'ending without stopping it': '',
  })) {
    await t.test(how, async t => {
      const { pids, folder } = await startElsewhere(end)
      t.equal(pids.length, 4)
      await eventually(() => livingOf(pids), {
        until: alive => alive.length === 0,
        what: 'its programs to end',
      })
      await eventually(async () => existsSync(folder), {
        until: exists => !exists,
        what: `${folder} to be removed`,
      })
    })
  }
})

t.test('the apiserver can be taken away and brought back', async t => {
  const controlPlane = await startControlPlane()
  t.teardown(controlPlane.stop)
  const { api } = controlPlane
  const { resourceVersion } = await api.list(serviceAccounts)
  await api.create(namespaces, { metadata: { name: 'newer' } })

  await controlPlane.stopApiserver('SIGKILL')
  await t.rejects(api.text('/readyz'), 'nobody answers')
  t.notOk(controlPlane.pids()['kube-apiserver'])
  t.ok((await controlPlane.compactEtcd()) >= Number(resourceVersion))
  await controlPlane.startApiserver()

  t.ok(await api.get(namespaces, { name: 'newer' }), 'the data is still there')
  const watch = { query: {}, resourceVersion: '1', signal: AbortSignal.timeout(20_000), onEvent: () => {} }
  const error = await api.watch(pods, watch).catch((error: unknown) => error)
  t.ok(isStatus(error, 410), `history is gone: ${String(error)}`)
})

t.test('a start that fails names the log and its last lines, and keeps the folder', async t => {
  const error = await startControlPlane({ apiserverFlags: ['--no-such-flag'] }).catch(
    (error: unknown) => error,
  )
  t.match(
    String(error),
    /kube-apiserver exited with code 1; the end of \S+kube-apiserver\.log:[^]*no-such-flag/,
  )
  const [, folder = ''] = /(\S+)\/kube-apiserver\.log/.exec(String(error)) ?? []
  t.ok(existsSync(folder))
  t.teardown(() => rm(folder, { recursive: true }))
})

t.test('KUBEBUILDER_ASSETS is used where set, and what is missing there is named', async t => {
  const folder = t.testdir()
  const env = { ...process.env, KUBEBUILDER_ASSETS: folder }
  await writeFile(join(folder, 'etcd'), '', { mode: 0o755 })
  await t.rejects(ensurePrograms({ env }), {
    message: /KUBEBUILDER_ASSETS: \S+ has no kube-apiserver, kube-controller-manager, kube-scheduler\. /,
  })
  for (const program of ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler']) {
    await writeFile(join(folder, program), '', { mode: 0o755 })
  }
  t.same((await ensurePrograms({ env })).etcd, [join(folder, 'etcd')])
})

t.test('the version is the one go.mod requires', async t => {
  t.equal(kubernetesVersion('require (\n\tk8s.io/kubernetes v1.37.2\n\tk8s.io/api v0.37.2\n)'), 'v1.37.2')
  t.throws(() => kubernetesVersion('require k8s.io/api v0.37.2'), /requires no k8s.io\/kubernetes/)
})

const pidsOf = (controlPlane: ControlPlane): number[] => Object.values(controlPlane.pids())

async function livingOf(pids: readonly number[]): Promise<number[]> {
  const alive = await Promise.all(pids.map(isAlive))
  return pids.filter((_, index) => alive[index])
}

/** Starts a control plane in another process, which then does something unfortunate. */
async function startElsewhere(end: string): Promise<{ pids: number[]; folder: string }> {
  const script = `
    import { startControlPlane } from ${JSON.stringify(CONTROL_PLANE)}
    const controlPlane = await startControlPlane()
    const facts = JSON.stringify({ pids: Object.values(controlPlane.pids()), folder: controlPlane.folder })
    process.stdout.write(facts, () => { ${end} })
  `
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  await once(child, 'close')
  return JSON.parse(output)
}
