import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

const MODULE = join(import.meta.dirname, 'control-plane')

/** The names of the programs, as their folder in KUBEBUILDER_ASSETS has them. */
export const PROGRAMS = ['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'] as const
export type Program = (typeof PROGRAMS)[number]

/** How to run each program: the file, and the arguments that come before its own. */
export type Programs = Readonly<Record<Program, readonly string[]>>

export interface BuildOptions {
  /** PATH, HOME, XDG_CACHE_HOME and KUBEBUILDER_ASSETS are read; Go reads its own. */
  readonly env?: NodeJS.ProcessEnv
  /** Receives a line now and then while people wait. To standard error where absent. */
  readonly log?: (line: string) => void
}

/** A lock whose holder has not touched it for so long is left over from one that was killed. */
const STALE_LOCK_MS = 15_000
const TOUCH_LOCK_MS = 3_000
/** How often somebody who waits hears of it; in a log file less often than on a screen. */
const PROGRESS_MS = process.stderr.isTTY ? 5_000 : 30_000

/**
 * The programs of the control plane: those in the folder KUBEBUILDER_ASSETS names, else our own, built with Go on first
 * use (about 7 minutes on two cores, 6 s when Go has compiled it before) and kept in the user's cache.
 * @throws where KUBEBUILDER_ASSETS lacks a program, where Go is missing or older than go.mod wants, where the build fails.
 */
export async function ensurePrograms({
  env = process.env,
  log = toStderr,
}: BuildOptions = {}): Promise<Programs> {
  const assets = env['KUBEBUILDER_ASSETS']
  return assets ? programsIn(assets) : ourPrograms(await ensureBinary(env, log))
}

async function programsIn(folder: string): Promise<Programs> {
  const present = await Promise.all(PROGRAMS.map(program => isExecutable(join(folder, program))))
  const missing = PROGRAMS.filter((_, index) => !present[index])
  if (missing.length > 0) {
    throw new Error(
      `KUBEBUILDER_ASSETS: ${folder} has no ${missing.join(', ')}. setup-envtest brings etcd and kube-apiserver only; ` +
        `put the others of the same version there, or unset the variable and all are built from Go modules.`,
    )
  }
  return programs(program => [join(folder, program)])
}

const ourPrograms = (binary: string): Programs => programs(program => [binary, program])

const programs = (command: (program: Program) => string[]): Programs => ({
  etcd: command('etcd'),
  'kube-apiserver': command('kube-apiserver'),
  'kube-controller-manager': command('kube-controller-manager'),
  'kube-scheduler': command('kube-scheduler'),
})

async function ensureBinary(env: NodeJS.ProcessEnv, log: (line: string) => void): Promise<string> {
  const folder = join(cacheFolder(env), `control-plane-${await fingerprint()}`)
  const binary = join(folder, 'control-plane')
  if (await isExecutable(binary)) return binary
  await mkdir(folder, { recursive: true })
  await withLock(join(folder, 'lock'), log, async () => {
    if (!(await isExecutable(binary))) await build({ binary, env, log })
  })
  return binary
}

/** `$XDG_CACHE_HOME/prefect-lifeguard`, by default under ~/.cache. */
export const cacheFolder = (env: NodeJS.ProcessEnv): string =>
  join(env['XDG_CACHE_HOME'] || join(env['HOME'] || homedir(), '.cache'), 'prefect-lifeguard')

/** Of everything the binary is made from. */
async function fingerprint(): Promise<string> {
  const hash = createHash('sha256').update(goArguments(await moduleVersion()).join(' '))
  for (const file of ['go.mod', 'go.sum', 'main.go']) hash.update(await readFile(join(MODULE, file)))
  return hash.digest('hex').slice(0, 16)
}

interface Build {
  readonly binary: string
  readonly env: NodeJS.ProcessEnv
  readonly log: (line: string) => void
}

/** Into a file beside it, renamed when complete: nobody ever sees half a binary. */
async function build({ binary, env, log }: Build): Promise<void> {
  await checkGo(env)
  const version = await moduleVersion()
  const unfinished = `${binary}.${process.pid}`
  log(
    `building etcd and Kubernetes ${version} from Go modules, once: about 7 minutes on two cores, ` +
      `seconds where Go has compiled them before`,
  )
  const goEnv = { ...env, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOWORK: 'off' }
  try {
    await runGo([...goArguments(version), '-o', unfinished, '.'], { env: goEnv, log })
    await rename(unfinished, binary)
  } finally {
    await rm(unfinished, { force: true })
  }
}

async function checkGo(env: NodeJS.ProcessEnv): Promise<void> {
  try {
    await promisify(execFile)('go', ['version'], { env, cwd: MODULE })
  } catch (cause) {
    throw new Error(
      `the control plane is built with Go, which was not found or is too old. Install Go ${await goVersion()} or newer ` +
        `(https://go.dev/dl), or point KUBEBUILDER_ASSETS at a folder with ${PROGRAMS.join(', ')}.`,
      { cause },
    )
  }
}

const goVersion = async (): Promise<string> =>
  /^go (\S+)$/m.exec(await readFile(join(MODULE, 'go.mod'), 'utf8'))?.[1] ?? ''

/** The version of k8s.io/kubernetes that a go.mod requires, for example `v1.37.2`. */
export function kubernetesVersion(goMod: string): string {
  const version = /^\s*(?:require )?k8s\.io\/kubernetes (v\d+\.\d+\.\d+)/m.exec(goMod)?.[1]
  if (version === undefined) throw new Error(`control-plane/go.mod requires no k8s.io/kubernetes`)
  return version
}

const moduleVersion = async (): Promise<string> =>
  kubernetesVersion(await readFile(join(MODULE, 'go.mod'), 'utf8'))

const goArguments = (version: string): string[] => [
  'build',
  '-v',
  '-trimpath',
  '-buildvcs=false',
  '-ldflags',
  linkerFlags(version),
]

/** Without a version kubectl cannot parse what the apiserver answers; -s -w leave out what only debuggers read. */
function linkerFlags(version: string): string {
  const [major = '', minor = ''] = version.slice(1).split('.')
  const values = {
    gitVersion: version,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: 'clean',
    gitCommit: 'embedded',
    buildDate: '1970-01-01T00:00:00Z',
  }
  const variables = Object.entries(values).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  )
  return ['-s', '-w', ...variables].join(' ')
}

/** What `go build -v` prints a line of: downloads, and packages as they are compiled. */
interface GoProgress {
  downloaded: number
  compiled: number
  /** The last lines that are neither: errors. */
  readonly other: string[]
}

async function runGo(
  args: readonly string[],
  { env, log }: { readonly env: NodeJS.ProcessEnv; readonly log: (line: string) => void },
): Promise<void> {
  const progress: GoProgress = { downloaded: 0, compiled: 0, other: [] }
  const go = spawn('go', args, { cwd: MODULE, env, stdio: ['ignore', 'ignore', 'pipe'] })
  const started = Date.now()
  const timer = setInterval(() => log(describe(progress, Date.now() - started)), PROGRESS_MS)
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      let rest = ''
      go.stderr.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = `${rest}${chunk}`.split('\n')
        rest = lines.pop() ?? ''
        for (const line of lines) count(progress, line)
      })
      go.once('error', reject)
      go.once('close', resolve)
    })
    if (code !== 0) throw new Error(`go build ended with code ${code}:\n${progress.other.join('\n')}`)
  } finally {
    clearInterval(timer)
  }
  log(`built in ${seconds(Date.now() - started)}`)
}

function count(progress: GoProgress, line: string): void {
  if (line.startsWith('go: downloading ')) progress.downloaded += 1
  else if (/^[\w.~/-]+$/.test(line)) progress.compiled += 1
  else progress.other.push(line)
  if (progress.other.length > 40) progress.other.shift()
}

/** With Kubernetes 1.37.2, by `go list -deps`; those of Go's own library included. For people to see how far it is. */
const PACKAGES = 2_543

const describe = ({ downloaded, compiled }: GoProgress, ms: number): string =>
  `still building after ${seconds(ms)}: ${downloaded} modules downloaded, ${compiled} of about ${PACKAGES} packages compiled`

const seconds = (ms: number): string =>
  ms < 90_000
    ? `${Math.round(ms / 1_000)} s`
    : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`

/**
 * One process at a time. The lock is a file that its holder keeps touching, so that one left behind by a killed process
 * is recognised, whichever host or container it ran in. Should two ever hold it, both build and the later rename wins.
 */
async function withLock(file: string, log: (line: string) => void, work: () => Promise<void>): Promise<void> {
  await takeLock(file, log)
  const timer = setInterval(() => void utimes(file, new Date(), new Date()).catch(() => {}), TOUCH_LOCK_MS)
  try {
    await work()
  } finally {
    clearInterval(timer)
    await rm(file, { force: true })
  }
}

async function takeLock(file: string, log: (line: string) => void): Promise<void> {
  for (let nextWord = 0; ; await sleep(200)) {
    if (await createLock(file)) return
    const touched = await stat(file).then(
      ({ mtimeMs }) => mtimeMs,
      () => Date.now(),
    )
    if (Date.now() - touched > STALE_LOCK_MS) await rm(file, { force: true })
    if (Date.now() >= nextWord) {
      log('another process is building the control plane; waiting for it')
      nextWord = Date.now() + PROGRESS_MS
    }
  }
}

const createLock = (file: string): Promise<boolean> =>
  writeFile(file, `${process.pid}\n`, { flag: 'wx' }).then(
    () => true,
    (error: unknown) => {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false
      throw error
    },
  )

const isExecutable = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  )

function toStderr(line: string): void {
  process.stderr.write(`${line}\n`)
}
