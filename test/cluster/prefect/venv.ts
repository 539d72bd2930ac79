import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

const LOCK = join(import.meta.dirname, 'lock.py')

/** Looked for in this order; the first that is new enough is taken. */
const PYTHONS = ['python3', 'python3.14', 'python3.13', 'python3.12', 'python3.11']

/** prefect-kubernetes 0.8.0 declares requires-python >=3.11. */
const OLDEST_MINOR = 11

const PROGRESS_MS = 10_000

export interface VenvOptions {
  /** A pip requirements file; absent: the one that `TEST_PREFECT_REQUIREMENTS` names, else the pinned one. */
  readonly requirements?: string
  /** A pip constraints file; an empty string for none. */
  readonly constraints?: string
}

/** A Python environment with Prefect in it, shared by all checkouts and processes of this user. */
export interface Venv {
  readonly python: string
  /** Folder of `python`, `prefect`, ... */
  readonly bin: string
  /** Folder for what is made once per environment, such as the template database. */
  readonly folder: string
}

/**
 * The Python environment for these requirements, from the cache outside the checkout
 * (`$XDG_CACHE_HOME` or `~/.cache`, then `prefect-lifeguard/prefect-<hash of the requirements>/venv`).
 * Made on first use (about a minute); several processes may ask at once. Progress goes to standard error.
 * @throws if there is no Python 3.11 or newer, or pip cannot install the requirements.
 */
export async function ensureVenv(options: VenvOptions = {}): Promise<Venv> {
  const { requirements, constraints } = pinsOf(options)
  const python = await findPython()
  const folder = join(cacheFolder(), `prefect-${await keyOf([requirements, constraints], python.version)}`)
  const venv = { folder, bin: join(folder, 'venv', 'bin'), python: join(folder, 'venv', 'bin', 'python') }
  await makeOnce(join(folder, 'venv.complete'), python.command, () =>
    install({ python: python.command, target: join(folder, 'venv'), requirements, constraints }),
  )
  return venv
}

const PINNED = {
  requirements: join(import.meta.dirname, 'requirements.txt'),
  constraints: join(import.meta.dirname, 'constraints.txt'),
} as const

/** Constraints belong to the pinned requirements: others come with their own, or hold every version themselves. */
function pinsOf({ requirements, constraints }: VenvOptions): Required<VenvOptions> {
  const other = requirements ?? process.env['TEST_PREFECT_REQUIREMENTS']
  if (other !== undefined) return { requirements: other, constraints: constraints ?? '' }
  return { ...PINNED, ...(constraints !== undefined && { constraints }) }
}

/**
 * Runs `make` unless `marker` exists, and creates the marker when it succeeds. Of several processes that ask at once one
 * makes and the others wait for it.
 */
export async function makeOnce(marker: string, python: string, make: () => Promise<void>): Promise<void> {
  if (existsSync(marker)) return
  await mkdir(join(marker, '..'), { recursive: true })
  await using _ = await lock(`${marker}.lock`, python)
  if (existsSync(marker)) return
  await make()
  await writeFile(marker, '')
}

/** Environment of this process without Prefect's settings, which are not meant for the embedded Prefect. */
export function environmentWith(venv: Venv, more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !/^(PREFECT_|PYTHON|VIRTUAL_ENV)/.test(name))
  const path = [venv.bin, process.env['PATH']].join(delimiter)
  return { ...Object.fromEntries(own), PATH: path, DO_NOT_TRACK: '1', ...more }
}

function cacheFolder(): string {
  return join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'prefect-lifeguard')
}

async function keyOf(files: readonly string[], version: string): Promise<string> {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} ${version}`)
  for (const file of files) hash.update(file === '' ? '' : await readFile(file))
  return hash.digest('hex').slice(0, 12)
}

async function findPython(): Promise<{ command: string; version: string }> {
  const found: string[] = []
  for (const command of PYTHONS) {
    const version = await versionOf(command)
    if (version === undefined) continue
    if (isNewEnough(version)) return { command, version }
    found.push(`${command} is ${version}`)
  }
  const seen = found.length === 0 ? 'none found' : found.join(', ')
  throw new Error(`Prefect needs Python 3.${OLDEST_MINOR} or newer as one of ${PYTHONS.join(', ')}: ${seen}`)
}

/** `3.12`, or undefined where there is no such command. */
async function versionOf(command: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(command, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])
    return stdout.trim()
  } catch {
    return undefined
  }
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major === 3 && minor >= OLDEST_MINOR
}

interface Installation {
  readonly python: string
  readonly target: string
  readonly requirements: string
  readonly constraints: string
}

async function install({ python, target, requirements, constraints }: Installation): Promise<void> {
  say(`making a Python environment in ${target} (once; about a minute)`)
  // What an interrupted attempt left behind.
  await rm(target, { recursive: true, force: true })
  await runTool([python, '-m', 'venv', target], 'if it says that ensurepip is missing, install python3-venv')
  const pinned = constraints === '' ? [] : ['--constraint', constraints]
  const pip = [join(target, 'bin', 'python'), '-m', 'pip', 'install', '--no-input', '--progress-bar', 'off']
  await runTool([...pip, '--requirement', requirements, ...pinned], 'pip needs to reach a package index')
  say('the Python environment is complete')
}

/** Runs a command to its end, telling its last line now and then. @throws with the end of its output and the hint. */
async function runTool([command = '', ...args]: readonly string[], hint: string): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  }
  const timer = setInterval(() => say(lastLineOf(output)), PROGRESS_MS)
  const [code]: unknown[] = await once(child, 'close').finally(() => clearInterval(timer))
  if (code === 0) return
  throw new Error(
    `${[command, ...args].join(' ')} exited with ${String(code)} (${hint}):\n${output.slice(-2_000)}`,
  )
}

function lastLineOf(output: string): string {
  return (output.trimEnd().split('\n').at(-1) ?? '').trim().slice(0, 100)
}

/** Waits for an exclusive lock on a file, and holds it until disposed of or this process ends. */
async function lock(file: string, python: string): Promise<AsyncDisposable> {
  const child = spawn(python, ['-I', '-S', LOCK, file], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'close')
  const locked = await Promise.race([once(child.stdout, 'data').then(() => true), ended.then(() => false)])
  if (!locked) throw new Error(`locking ${file} with ${python} failed`)
  return {
    [Symbol.asyncDispose]: async () => {
      child.stdin.end()
      await ended
    },
  }
}

function say(message: string): void {
  process.stderr.write(`prefect: ${message}\n`)
}
