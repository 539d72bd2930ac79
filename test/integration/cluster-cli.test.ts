import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, readFile, symlink } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { ensurePrograms } from '../cluster/build.ts'

// Building the control plane, where nobody has yet, takes minutes; what is tested takes seconds.
t.setTimeout(900_000)

const CLI = join(import.meta.dirname, '../cluster/cli.ts')

t.test('up, status and down', async t => {
  const cache = t.testdir()
  const env = { ...process.env, XDG_CACHE_HOME: cache, KUBECONFIG: '' }
  await borrowControlPlane(cache)
  const cluster = async (...args: string[]) => {
    const result = await promisify(execFile)(process.execPath, [CLI, ...args], { env }).catch(
      (error: unknown) => error as { code: number; stdout: string },
    )
    return { code: 'code' in result ? result.code : 0, text: result.stdout }
  }
  t.teardown(() => cluster('down'))

  t.same(await cluster('status'), { code: 1, text: 'nothing is up\n' })
  t.same(await cluster('down'), { code: 0, text: 'nothing is up\n' })

  const up = await cluster('up', '--no-prefect')
  t.match(up, { code: 0, text: /# Kubernetes: https:\/\/127\.0\.0\.1:\d+\n[^]*export KUBECONFIG=\S+\n$/ })
  t.same(await cluster('status'), up)
  t.same((await cluster('up')).text, `already up\n${up.text}`)

  const [, kubeconfig = ''] = /KUBECONFIG=(\S+)/.exec(up.text) ?? []
  t.match(await readFile(kubeconfig, 'utf8'), /current-context: prefect-lifeguard/)
  t.same(await cluster('down'), { code: 0, text: 'down\n' })
  t.same(await cluster('status'), { code: 1, text: 'nothing is up\n' })
  t.notOk(existsSync(dirname(kubeconfig)), 'and nothing is left')
})

t.test('an existing cluster is used, and left as it is', async t => {
  const cache = t.testdir()
  const env = { ...process.env, XDG_CACHE_HOME: cache }
  const kubeconfig = join(cache, 'kubeconfig')
  const run = (...args: string[]) => promisify(execFile)(process.execPath, [CLI, ...args], { env })
  const up = await run('up', '--no-prefect', '--kubeconfig', kubeconfig)
  t.teardown(() => run('down'))
  t.equal(up.stdout, `export KUBECONFIG=${kubeconfig}\n`)
  t.match(up.stderr, `using the cluster of ${kubeconfig}`)
})

/** The control plane that this machine has built already, in another cache. */
async function borrowControlPlane(cache: string): Promise<void> {
  const folder = dirname((await ensurePrograms()).etcd[0] ?? '')
  await mkdir(join(cache, 'prefect-lifeguard'))
  await symlink(folder, join(cache, 'prefect-lifeguard', basename(folder)))
}
