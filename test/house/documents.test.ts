import { existsSync } from 'node:fs'
import { glob, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import t from 'tap'
import { z } from 'zod'

const ROOT = join(import.meta.dirname, '../..')

const schema = z.object({ scripts: z.record(z.string(), z.string()) })

/** What `npm run` knows, here and where the types of Prefect's API are made. */
const scripts: Readonly<Record<string, string>> = Object.assign(
  {},
  ...(await Promise.all(
    ['package.json', 'scripts/openapi/package.json'].map(
      async file => schema.parse(JSON.parse(await readFile(join(ROOT, file), 'utf8'))).scripts,
    ),
  )),
)

/** Folders of ours; what a document names in one of them has to be there. */
const PATH = /`((?:src|test|manifests|docs|certs|scripts)\/[\w./-]+)`/g
const LINK = /\]\(([^)#:]+)(?:#[^)]*)?\)/g
const SCRIPT = /npm run ([a-z:-]+)/g
/** A command in the background, and the line after it. */
const FORWARD = /^kubectl .* port-forward .*&$\n(.*)$/gm
/** npm's own lines come before what the command prints. */
const NOISY = /npm start (?!-s )/

const found = (text: string, pattern: RegExp): readonly string[] =>
  [...text.matchAll(pattern)].map(([, group = '']) => group)

for await (const file of glob(['*.md', 'docs/**/*.md', 'certs/*.md'], { cwd: ROOT }))
  t.test(`${file} names nothing that is not there`, async t => {
    const text = await readFile(join(ROOT, file), 'utf8')
    for (const link of found(text, LINK)) t.ok(existsSync(join(ROOT, dirname(file), link)), `link ${link}`)
    for (const path of found(text, PATH)) t.ok(existsSync(join(ROOT, path)), path)
    for (const name of found(text, SCRIPT)) t.ok(name in scripts, `npm run ${name}`)
  })

for await (const file of glob(['README.md', 'docs/**/*.md'], { cwd: ROOT }))
  t.test(`${file} has commands that work when they are copied`, async t => {
    const text = await readFile(join(ROOT, file), 'utf8')
    t.notMatch(text, NOISY)
    for (const next of found(text, FORWARD))
      t.match(next, /^curl .*--retry-connrefused .*; kill \$!$/, 'it is waited for, and does not stay behind')
  })
