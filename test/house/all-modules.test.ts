import { execFile } from 'node:child_process'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'

const SOURCE = join(import.meta.dirname, '../../src')

/** Ends by itself only where nothing was opened, started or scheduled. */
const IMPORT_ALL = `for (const module of process.argv.slice(1)) await import(module)
process.stdout.write(process.getActiveResourcesInfo().filter(name => name !== 'PipeWrap').join())`

t.test('importing a module does nothing: it opens, starts, schedules and says nothing', async t => {
  const modules: string[] = []
  for await (const file of glob('**/*.ts', { cwd: SOURCE }))
    if (file !== 'main.ts' && !file.endsWith('.d.ts')) modules.push(join(SOURCE, file))
  t.ok(modules.length > 100, 'all modules are found')
  const args = ['--input-type=module', '--eval', IMPORT_ALL, ...modules]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { env: {}, timeout: 60_000 })
  t.equal(stdout, '', 'nothing is left open')
  t.equal(stderr, '')
})
