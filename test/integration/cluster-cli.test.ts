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
  await borrowControlPlane(cache)
  const cluster = cli({ XDG_CACHE_HOME: cache, KUBECONFIG: '' })

  t.match(await cluster('status'), { code: 1, stdout: 'nothing is up\n' })
  t.match(await cluster('down'), { code: 0, stdout: 'nothing is up\n' })
  try {
    const up = await cluster('up', '--no-prefect')
    t.match(up, { code: 0, stdout: /# Kubernetes: https:\/\/127\.0\.0\.1:\d+\n[^]*export KUBECONFIG=\S+\n$/ })
    t.equal((await cluster('status')).stdout, up.stdout)
    t.equal((await cluster('up')).stdout, `# already up\n${up.stdout}`)

    const [, kubeconfig = ''] = /KUBECONFIG=(\S+)/.exec(up.stdout) ?? []
    t.match(await readFile(kubeconfig, 'utf8'), /current-context: prefect-lifeguard/)
    t.match(await cluster('down'), { code: 0, stdout: 'down\n' })
    t.match(await cluster('status'), { code: 1, stdout: 'nothing is up\n' })
    t.notOk(existsSync(dirname(kubeconfig)), 'and nothing is left')
  } finally {
    await cluster('down')
  }
})

t.test('an existing cluster is used, and left as it is', async t => {
  const cache = t.testdir()
  const cluster = cli({ XDG_CACHE_HOME: cache })
  const kubeconfig = join(cache, 'kubeconfig')
  try {
    const up = await cluster('up', '--no-prefect', '--kubeconfig', kubeconfig)
    t.equal(up.stdout, `export KUBECONFIG=${kubeconfig}\n`)
    t.match(up.stderr, `using the cluster of ${kubeconfig}`)
  } finally {
    t.equal((await cluster('down')).stdout, 'down\n')
  }
})

interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs the command line with these variables besides our own. */
function cli(more: NodeJS.ProcessEnv): (...args: string[]) => Promise<Result> {
  const env = { ...process.env, ...more }
  return async (...args) => {
    try {
      return { code: 0, ...(await promisify(execFile)(process.execPath, [CLI, ...args], { env })) }
    } catch (error) {
      // It ended, and not with 0.
      return error as Result
    }
  }
}

/** The control plane that this machine has built already, in another cache. */
async function borrowControlPlane(cache: string): Promise<void> {
  const folder = dirname((await ensurePrograms()).etcd[0] ?? '')
  await mkdir(join(cache, 'prefect-lifeguard'))
  await symlink(folder, join(cache, 'prefect-lifeguard', basename(folder)))
}
