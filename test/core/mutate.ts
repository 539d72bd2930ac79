/**
 * Changes the rules, one small thing at a time, and runs the tests of the core against each change: a change that no
 * test notices is a rule that no test holds. Works on a copy; takes some minutes. `node test/core/mutate.ts`
 * prints every change that survived, and ends with 1 where one did.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Where the rules are. The diagnosis has its own tests. */
const FOLDERS = ['src/core', 'src/core/rules']

/** Those that take longest come last: most changes are noticed before. */
const SLOW: ReadonlySet<string> = new Set(['properties.test.ts', 'replay.test.ts'])

/** What is exchanged, each occurrence on its own. */
const EXCHANGES: readonly (readonly [RegExp, string])[] = [
  [/ && /g, ' || '],
  [/ \|\| /g, ' && '],
  [/ === /g, ' !== '],
  [/ !== /g, ' === '],
  [/ <= /g, ' < '],
  [/ >= /g, ' > '],
  [/ < /g, ' <= '],
  [/ > /g, ' >= '],
  [/ \+ /g, ' - '],
  [/ - /g, ' + '],
  [/\.some\(/g, '.every('],
  [/\.every\(/g, '.some('],
  [/Math\.max\(/g, 'Math.min('],
  [/\btrue\b/g, 'false'],
  [/\bfalse\b/g, 'true'],
  [/(?<=[\s(])!(?=\w)/g, ''],
  [/if \((?=.*\) return)/g, 'if (false && '],
  [/if \((?=.*\) return)/g, 'if (true || '],
  [/^ {2}\{ name: .*\},$/gm, ''],
  [/ \?\? /g, ' && '],
]

/** Changes that change nothing, by what they make of a line. */
const EQUIVALENT: ReadonlySet<string> = new Set([
  // Two Jobs with one UID are the same Job: neither comes first.
  '(a.job.metadata.uid <= b.job.metadata.uid ? -1 : 1)',
])

interface Mutation {
  readonly file: string
  readonly line: number
  readonly before: string
  readonly after: string
  readonly source: string
  readonly text: string
}

async function tryAll(): Promise<number> {
  for (const folder of ['src/core', 'src/kubernetes', 'test/core', 'test/fixtures'])
    await cp(join(ROOT, folder), join(copy, folder), { recursive: true })
  await cp(join(ROOT, 'package.json'), join(copy, 'package.json'))
  await symlink(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const suites = (await readdir(join(ROOT, 'test/core')))
    .filter(name => name.endsWith('.test.ts') && !name.startsWith('diagnosis'))
    .toSorted((a, b) => Number(SLOW.has(a)) - Number(SLOW.has(b)))
  await writeFile(join(copy, 'all.ts'), suites.map(name => `import './test/core/${name}'\n`).join(''))
  if (!(await passes())) throw new Error('The tests fail before anything was changed')
  const mutations = (await mutationsOfAll()).filter(({ file }) => only === undefined || file.includes(only))
  let survivors = 0
  for (const mutation of mutations) if (!(await isNoticed(mutation))) survivors += 1
  process.stdout.write(`${mutations.length} changes, ${survivors} of them not noticed\n`)
  return survivors === 0 ? 0 : 1
}

async function isNoticed({ file, line, before, after, source, text }: Mutation): Promise<boolean> {
  const path = join(copy, file)
  await writeFile(path, text)
  const isUnnoticed = await passes()
  await writeFile(path, source)
  if (isUnnoticed) process.stdout.write(`${file}:${line}\n  - ${before}\n  + ${after}\n`)
  return !isUnnoticed
}

/** A change that keeps the rules waiting for ever is noticed, too. */
async function passes(): Promise<boolean> {
  const tests = spawn(process.execPath, ['all.ts'], {
    cwd: copy,
    stdio: 'ignore',
    env: { ...process.env, TAP_BAIL: '1' },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  })
  const [code] = (await once(tests, 'exit')) as [number | null]
  return code === 0
}

async function mutationsOfAll(): Promise<readonly Mutation[]> {
  const found: Mutation[] = []
  for (const folder of FOLDERS)
    for (const name of (await readdir(join(copy, folder))).filter(entry => entry.endsWith('.ts'))) {
      const file = join(folder, name)
      found.push(...mutationsOf(file, await readFile(join(copy, file), 'utf8')))
    }
  return found
}

const mutationsOf = (file: string, source: string): readonly Mutation[] =>
  EXCHANGES.flatMap(([pattern, replacement]) =>
    [...source.matchAll(pattern)].flatMap(({ index, 0: match }) => {
      const text = source.slice(0, index) + replacement + source.slice(index + match.length)
      const line = source.slice(0, index).split('\n').length
      const before = lineOf(source, line)
      const after = lineOf(text, line)
      return isCode(before) && !EQUIVALENT.has(after) ? [{ file, line, before, after, source, text }] : []
    }),
  )

const lineOf = (text: string, line: number): string => text.split('\n')[line - 1]?.trim() ?? ''

/** Comments and types are of no consequence at run time. */
const isCode = (line: string): boolean =>
  !/^(\*|\/\/|\/\*\*|\||import |export type |readonly |type )/.test(line)

const [only] = process.argv.slice(2)
const copy = await mkdtemp(join(tmpdir(), 'mutate-'))
try {
  process.exitCode = await tryAll()
} finally {
  await rm(copy, { recursive: true })
}
