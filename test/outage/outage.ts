import { Command, InvalidArgumentError } from 'commander'
import { runOutage } from './run.ts'

/**
 * `npm run outage -- --seconds 60 --deaths 200`: Prefect's server is gone for so long in the middle of so many deaths.
 * Ends with 1 where a run did not become what it had to. In the suite: test/integration/prefect-outage.test.ts.
 */
const program = new Command('outage')
  .option('--seconds <n>', 'how long the server is gone', positive, 60)
  .option('--deaths <n>', 'how many runs die', positive, 200)
  .parse()

const { seconds, deaths } = program.opts<{ seconds: number; deaths: number }>()
const started = Date.now()
const say = (line: string): void => {
  process.stdout.write(`${String(Math.round((Date.now() - started) / 1_000)).padStart(5)} s  ${line}\n`)
}

const { complaints, ...report } = await runOutage({ deaths, downMs: seconds * 1_000, log: say })
for (const complaint of complaints) say(complaint)
say(JSON.stringify(report))
say(`${deaths} deaths, ${complaints.length} of them not as they should be`)
process.exitCode = complaints.length > 0 ? 1 : 0

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('must be a positive number')
  return value
}
