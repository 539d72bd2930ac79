import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { copyFile, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { cacheFolder } from '../../cluster/build.ts'

const run = promisify(execFile)

const GO = join(import.meta.dirname, 'controller-runtime')
const GO_FILES = ['go.mod', 'go.sum', 'webhook/main.go', 'load/main.go'].map(file => join(GO, file))

const PEPR_FILES = ['package.json', 'package-lock.json', 'webhook.cjs'].map(file =>
  join(import.meta.dirname, 'pepr', file),
)

type Log = (line: string) => void

/** The programs of the Go module. */
export interface GoPrograms {
  /** Answers reviews, with controller-runtime. */
  readonly webhook: string
  /** Sends them. */
  readonly load: string
}

/** Builds the Go module into the user's cache, on first use: about a minute, 15 s where Kubernetes has been built. */
export async function ensureGoPrograms(log: Log): Promise<GoPrograms> {
  const folder = await ensureFolder('bench-go', GO_FILES, async unfinished => {
    log('building a controller-runtime webhook and the load generator, once')
    const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOWORK: 'off' }
    await run(
      'go',
      ['build', '-trimpath', '-buildvcs=false', '-ldflags=-s -w', '-o', `${unfinished}/`, './...'],
      {
        cwd: GO,
        env,
      },
    )
  })
  return { webhook: join(folder, 'webhook'), load: join(folder, 'load') }
}

/** Installs Pepr into the user's cache, on first use. Gives the script that starts it. */
export async function ensurePepr(log: Log): Promise<string> {
  const folder = await ensureFolder('bench-pepr', PEPR_FILES, async unfinished => {
    log('installing Pepr, once')
    for (const file of PEPR_FILES) await copyFile(file, join(unfinished, basename(file)))
    await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: unfinished })
  })
  return join(folder, 'webhook.cjs')
}

/** The version that a module of go.mod has, without its `v`. */
export async function goVersionOf(module: string): Promise<string> {
  const goMod = await readFile(join(GO, 'go.mod'), 'utf8')
  const line = goMod.split('\n').find(line => line.includes(`${module} v`))
  return line?.trim().split(' v')[1] ?? 'unknown'
}

export async function peprVersion(): Promise<string> {
  const text = await readFile(join(import.meta.dirname, 'pepr/package.json'), 'utf8')
  return z.object({ dependencies: z.object({ pepr: z.string() }) }).parse(JSON.parse(text)).dependencies.pepr
}

/** A folder of the cache named after the content of its sources; it appears when it is complete. */
async function ensureFolder(
  name: string,
  sources: readonly string[],
  fill: (unfinished: string) => Promise<void>,
): Promise<string> {
  const hash = createHash('sha256')
  for (const file of sources) hash.update(await readFile(file))
  const folder = join(cacheFolder(process.env), `${name}-${hash.digest('hex').slice(0, 12)}`)
  if (existsSync(folder)) return folder
  await mkdir(dirname(folder), { recursive: true })
  const unfinished = await mkdtemp(`${folder}.`)
  try {
    await fill(unfinished)
    // Somebody else may have been faster: theirs is as good.
    await rename(unfinished, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error
    })
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
  return folder
}
