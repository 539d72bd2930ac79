import { Command, InvalidArgumentError } from 'commander'
import { runChaos } from './run.ts'

/**
 * `npm run chaos -- --minutes 10 --seed 7`: the product against a real control plane and a real Prefect while
 * connections break, servers restart and its own processes are killed. Ends with 1 where a run was lost or wronged.
 */
const program = new Command('chaos')
  .option('--minutes <n>', 'how long things go wrong', positive, 1)
  .option(
    '--seed <n>',
    'the same seed gives the same faults and deaths',
    positive,
    Math.floor(Math.random() * 1e6) + 1,
  )
  .option('--jobs-per-minute <n>', 'load', positive, 150)
  .parse()

const { minutes, seed, jobsPerMinute } = program.opts<{
  minutes: number
  seed: number
  jobsPerMinute: number
}>()
const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const report = await runChaos({ seed, durationMs: minutes * 60_000, jobsPerMinute, log: say })
for (const complaint of report.complaints) say(complaint)
for (const [name, value] of Object.entries(report.figures)) say(`${name} ${value}`)
say(`everything was settled ${Math.round(report.settledMs / 1_000)} s after the last fault`)
say(`processes of the product that ended by themselves: ${report.falls}`)
if (report.lost + report.wrong > 0) say(`logs: ${report.folder}`)
say(
  `seed ${seed}: ${report.jobs} Jobs, ${report.deaths} deaths, ${report.faults} faults, ${report.lost} lost, ${report.wrong} wrong`,
)
process.exitCode = report.lost + report.wrong > 0 ? 1 : 0

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('must be a positive number')
  return value
}
