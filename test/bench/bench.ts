import { parseArgs } from 'node:util'
import { GROUPS } from './groups.ts'
import { circumstances } from './machine.ts'
import { resultOf, toJson } from './result.ts'
import { FOLDER, keep, readResults } from './results.ts'
import { GROUP_NAMES } from './group.ts'
import type { Group, Sizes } from './group.ts'
import { textTable } from './table.ts'

const USAGE = `usage: npm run bench [-- --only GROUP]... [--json] [--folder FOLDER]

Measures prefect-lifeguard beside its peers on this machine. Groups: ${GROUP_NAMES.join(', ')}; all where none is named.
Results go to docs/benchmarks, where those of groups that were not run stay as they are.

  --only GROUP     one group; may be repeated
  --json           print one JSON object with the groups that were run, instead of tables
  --folder FOLDER  where results go instead
  --jobs N         scale: Jobs in the largest step, such as 35000
  --peer-jobs N    scale: the same for the peer
  --churn N        reaction: runs that come and go while others die, such as 3500
`

/** Sizes by name, and the options that they come by. */
const SIZES = { jobs: 'jobs', peerJobs: 'peer-jobs', churn: 'churn' } as const

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    json: { type: 'boolean', default: false },
    folder: { type: 'string', default: FOLDER },
    jobs: { type: 'string' },
    'peer-jobs': { type: 'string' },
    churn: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
})

if (values.help) process.stdout.write(USAGE)
else await bench()

async function bench(): Promise<void> {
  const groups = chosen(values.only)
  for (const group of groups) await measure(group)
  const results = await readResults(values.folder)
  const fresh = Object.fromEntries(groups.map(({ name }) => [name, results[name]]))
  if (values.json) process.stdout.write(`${JSON.stringify(toJson(fresh), undefined, 2)}\n`)
  else process.stderr.write(`\nPictures and what limits us: ${values.folder}\n`)
}

function chosen(names: readonly string[]): readonly Group[] {
  const unknown = names.filter(name => GROUPS.every(group => group.name !== name))
  if (unknown.length > 0)
    throw new Error(`--only ${unknown.join(', ')}: no such group; there are ${GROUP_NAMES.join(', ')}`)
  return GROUPS.filter(({ name }) => names.length === 0 || names.includes(name))
}

/** A group that has been measured is kept, whatever becomes of the next one. */
async function measure(group: Group): Promise<void> {
  const began = Date.now()
  const progress = (line: string): void => {
    process.stderr.write(`${secondsSince(began).padStart(5)} s  ${group.name}: ${line}\n`)
  }
  const found = { ...(await circumstances()), options: optionsOf(group) }
  const measured = await group.run({ progress, sizes: sizes() })
  const result = resultOf(group, measured, found)
  await keep(values.folder, group, { result, charts: measured.charts })
  progress('measured')
  if (!values.json) process.stdout.write(`\n${group.title}\n\n${textTable(result.figures)}\n\n`)
}

/** What of the command line made a difference to the group. */
function optionsOf({ sizes: heeded = [] }: Group): string {
  const asked = heeded.flatMap(size => {
    const value = values[SIZES[size]]
    return value === undefined ? [] : `--${SIZES[size]} ${value}`
  })
  return asked.join(' ')
}

function sizes(): Sizes {
  return Object.fromEntries(
    Object.entries(SIZES).flatMap(([name, option]) => {
      const size = values[option]
      return size === undefined ? [] : [[name, wholeOf(option, size)]]
    }),
  )
}

function wholeOf(option: string, size: string): number {
  const number = Number(size)
  if (Number.isInteger(number) && number > 0) return number
  throw new Error(`--${option} ${size}: not a whole number above 0`)
}

function secondsSince(began: number): string {
  return ((Date.now() - began) / 1000).toFixed(0)
}
