import { execFile } from 'node:child_process'
import { mkdir, mkdtempDisposable, readdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import t from 'tap'
import { z } from 'zod'

const ROOT = join(import.meta.dirname, '../..')

/** Folders inside such rooms, for which the same borders hold. */
const INSIDE = [
  'observer/queue',
  'kubernetes/http',
  'kubernetes/lease',
  'kubernetes/parse',
  'kubernetes/watch',
] as const

/** Rooms that are handed what they need: each knows core, batching and itself. `core` and `batching` know nobody. */
const ROOMS = ['admission', 'observer', 'kubernetes', 'prefect', 'certificates', 'operations'] as const

const LIBRARIES: Readonly<Record<string, readonly string[]>> = {
  core: ['node:fs', 'fastify', 'pino', 'undici', '@kubernetes/client-node'],
  'core/rules': ['node:fs', 'fastify', 'pino', 'undici', '@kubernetes/client-node'],
  observer: ['fastify', 'undici'],
  kubernetes: ['fastify'],
  prefect: ['fastify', '@kubernetes/client-node'],
  certificates: ['fastify', 'undici'],
}

interface Planted {
  /** Below src/. */
  readonly file: string
  readonly text: string
  /** The rule that has to catch it; absent: it is allowed. */
  readonly caughtBy?: string
}

const IMPORTS = 'no-restricted-imports'

const importing = (from: string): string => `import * as it from '${from}'\n\nexport const use = it\n`

/** What files right in this folder may not import, and what they may; `src` is the way up. */
const acrossBorders = (folder: string, src: '..' | '../..'): readonly Planted[] => [
  ...[
    ...ROOMS.filter(room => !folder.startsWith(room)).map(room => `${room}/x.ts`),
    'config.ts',
    'main.ts',
    'commands/x.ts',
    'config/x.ts',
  ].map((from, index) => ({
    file: `${folder}/bad${index}.ts`,
    text: importing(`${src}/${from}`),
    caughtBy: IMPORTS,
  })),
  { file: `${folder}/good.ts`, text: importing(`${src}/core/x.ts`) },
  { file: `${folder}/good-too.ts`, text: importing(`${src}/batching/x.ts`) },
]

const withinRooms: readonly Planted[] = [
  ...ROOMS.flatMap(room => acrossBorders(room, '..')),
  ...INSIDE.flatMap(folder => acrossBorders(folder, '../..')),
  ...INSIDE.map(folder => ({ file: `${folder}/good-out.ts`, text: importing('../x.ts') })),
]

const outOfBatching: readonly Planted[] = [...ROOMS, 'core', 'commands', 'config'].map((room, index) => ({
  file: `batching/bad${index}.ts`,
  text: importing(`../${room}/x.ts`),
  caughtBy: IMPORTS,
}))

const outOfCore: readonly Planted[] = [
  ...[
    ...ROOMS.map(room => `../${room}/x.ts`),
    '../batching/x.ts',
    '../config.ts',
    '../config/x.ts',
    '../commands/x.ts',
  ].map((from, index) => ({ file: `core/bad${index}.ts`, text: importing(from), caughtBy: IMPORTS })),
  ...[...ROOMS.map(room => `../../${room}/x.ts`), '../../config.ts'].map((from, index) => ({
    file: `core/rules/bad${index}.ts`,
    text: importing(from),
    caughtBy: IMPORTS,
  })),
  { file: 'core/rules/good.ts', text: importing('../x.ts') },
  ...['fetch', 'process', 'setTimeout', 'setInterval', 'Date'].map(name => ({
    file: `core/${name}.ts`,
    text: `export const use = ${name}\n`,
    caughtBy: 'no-restricted-globals',
  })),
]

const COMMANDS = ['check', 'scan'] as const

const amongCommands: readonly Planted[] = COMMANDS.flatMap(command => [
  ...[
    ...COMMANDS.filter(other => other !== command).map(other => `../${other}/x.ts`),
    '../serve.ts',
    '../dev.ts',
  ].map((from, index) => ({
    file: `commands/${command}/bad${index}.ts`,
    text: importing(from),
    caughtBy: IMPORTS,
  })),
  { file: `commands/${command}/good.ts`, text: importing('../x.ts') },
  { file: `commands/${command}/good-too.ts`, text: importing('../../core/x.ts') },
])

const libraries: readonly Planted[] = Object.entries(LIBRARIES).flatMap(([room, names]) =>
  names.map((name, index) => ({
    file: `${room}/library${index}.ts`,
    text: importing(name),
    caughtBy: IMPORTS,
  })),
)

const inACircle: readonly Planted[] = [
  { file: 'core/chicken.ts', text: importing('./egg.ts'), caughtBy: 'no-cycle' },
  { file: 'core/egg.ts', text: importing('./chicken.ts'), caughtBy: 'no-cycle' },
]

const reportSchema = z.object({
  diagnostics: z.array(z.object({ code: z.string().optional(), filename: z.string() })),
})

t.test('each border is guarded: a violation that is planted is caught, what is allowed is not', async t => {
  const planted = [
    ...withinRooms,
    ...outOfBatching,
    ...outOfCore,
    ...amongCommands,
    ...libraries,
    ...inACircle,
  ]
  // Outside the checkout, whose .gitignore would hide a test's folder from the linter.
  await using folder = await mkdtempDisposable(join(tmpdir(), 'borders-'))
  const caught = await lint(folder.path, planted)
  for (const { file, text, caughtBy } of planted) {
    const rules = caught.get(`src/${file}`) ?? []
    const what = `${file}: ${text.split('\n')[0]}`
    if (caughtBy === undefined) t.strictSame(rules, [], `${what} is allowed`)
    else t.ok(rules.includes(caughtBy), `${what} is caught`)
  }
})

t.test('no folder of a room is forgotten here', async t => {
  const folders = ROOMS.map(async room => {
    const entries = await readdir(join(ROOT, 'src', room), { withFileTypes: true, recursive: true })
    return entries.filter(entry => entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name))
  })
  const found = (await Promise.all(folders)).flat().map(path => relative(join(ROOT, 'src'), path))
  t.strictSame(found.toSorted(), INSIDE.toSorted())
})

/** The house's own configuration, without the rules that need types: those know no borders. Gives the rules broken, by file. */
async function lint(
  folder: string,
  planted: readonly Planted[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const config = z.looseObject({}).parse(JSON.parse(await readFile(join(ROOT, '.oxlintrc.json'), 'utf8')))
  const files: Readonly<Record<string, string>> = {
    '.oxlintrc.json': JSON.stringify({ ...config, options: {} }),
    ...Object.fromEntries(
      [
        'core',
        'core/rules',
        'batching',
        'commands',
        ...COMMANDS.map(name => `commands/${name}`),
        ...ROOMS,
      ].map(room => [`src/${room}/x.ts`, 'export const x = 1\n']),
    ),
    ...Object.fromEntries(planted.map(({ file, text }) => [`src/${file}`, text])),
  }
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true })
    await writeFile(join(folder, file), text)
  }
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  const { diagnostics } = reportSchema.parse(JSON.parse(await oxlint(folder)))
  const caught = Map.groupBy(diagnostics, ({ filename }) => filename)
  return new Map([...caught].map(([file, found]) => [file, found.map(({ code = '' }) => ruleOf(code))]))
}

/** `eslint(no-restricted-imports)` -> `no-restricted-imports` */
const ruleOf = (code: string): string => /\((.+)\)/.exec(code)?.[1] ?? code

/**
 * Its report, which is what counts: it ends with 1 where it found something. By env, because tap gives every process
 * that a test starts hooks in its environment, with which oxlint cannot be loaded.
 */
async function oxlint(cwd: string): Promise<string> {
  const program = [process.execPath, join(ROOT, 'node_modules/oxlint/bin/oxlint'), '--format=json', 'src']
  const { promise, resolve } = Promise.withResolvers<string>()
  execFile('env', ['-i', ...program], { cwd, maxBuffer: 2 ** 24 }, (_error, stdout) => resolve(stdout))
  return promise
}
