import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Command } from 'commander'
import { startControlPlane } from '../cluster/control-plane.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import { tryMainJob } from './main-job.ts'
import type { Ground } from './main-job.ts'
import { complaintsAbout, tableOfRows, withRows } from './table.ts'
import type { Row, Tried } from './table.ts'
import { chosen, COMBINATIONS, nameOf, versionsOf } from './versions.ts'
import type { Combination } from './versions.ts'

/**
 * `npm run matrix`: the main job on a real control plane with every Prefect that is supported, each installed from its
 * requirements on first use (a minute or two each). `--only 3.4` tries one; `--write` puts what was found into
 * docs/compatibility.md. Ends with 1 where one of them does not do it.
 */
const program = new Command('matrix')
  .option('--only <name...>', 'combinations to try, such as 3.4 or 3.9/3.0 (server/worker); all where absent')
  .option('--write', 'write docs/compatibility.md')
  .parse()

const { only = [], write = false } = program.opts<{ only?: readonly string[]; write?: boolean }>()
const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const rows = await tryAll(chosen(only))
say(`\n${tableOfRows(rows)}\n`)
if (write) await writeDown()
const complaints = rows.flatMap(complaintsAbout)
for (const complaint of complaints) say(complaint)
process.exitCode = complaints.length > 0 ? 1 : 0

async function tryAll(combinations: readonly Combination[]): Promise<readonly Row[]> {
  await using controlPlane = await startControlPlane({ jobBackOff: '1s' })
  const node = await startProcessNode({ cluster: controlPlane })
  try {
    const found: Row[] = []
    for (const combination of combinations) found.push(await tryOne({ controlPlane, node }, combination))
    return found
  } finally {
    await node.stop()
  }
}

async function tryOne(ground: Ground, combination: Combination): Promise<Row> {
  const started = Date.now()
  const name = nameOf(combination)
  say(`${name} ...`)
  const result = await tryMainJob(ground, combination)
  say(`${name}: ${JSON.stringify(result)}, in ${Math.round((Date.now() - started) / 1_000)} s`)
  return { combination, ...(await triedOf(combination)), result, day: new Date().toISOString().slice(0, 10) }
}

async function triedOf({ server, client }: Combination): Promise<Tried> {
  return { server: await versionsOf(server), client: await versionsOf(client) }
}

async function writeDown(): Promise<void> {
  const file = join(import.meta.dirname, '../../docs/compatibility.md')
  const wanted = await Promise.all(COMBINATIONS.map(triedOf))
  await writeFile(file, withRows(await readFile(file, 'utf8'), rows, wanted))
}
