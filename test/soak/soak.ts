import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import { plot } from './plot.ts'
import { runSoak } from './run.ts'
import type { AdmissionReport, Measure } from './run.ts'

/** `npm run soak -- --minutes 30`: whether the product stays as large as it is. Ends with 1 where it does not. */
const program = new Command('soak')
  .option('--minutes <n>', 'how long', positive, 15)
  .option('--seed <n>', 'of the runs', positive, 1)
  .option('--jobs-per-minute <n>', 'load', positive, 120)
  .option('--pods <n>', 'pods to be listed while admission is measured; 0: not at all', Number, 10_000)
  .option('--plot <file>', 'where the picture goes', 'docs/benchmarks/soak.svg')
  .parse()

const options = program.opts<{
  minutes: number
  seed: number
  jobsPerMinute: number
  pods: number
  plot: string
}>()
const say = (line: string): void => {
  process.stdout.write(`${line}\n`)
}

const { jobs, measures, warmUpMs, loopDelayMs, admission } = await runSoak({
  ...options,
  durationMs: options.minutes * 60_000,
  log: say,
})
for (const measure of measures) say(inWords(measure))
say(
  `event loop delay, p99 of each sample: median ${loopDelayMs.median.toFixed(1)} ms, worst ${loopDelayMs.worst.toFixed(1)} ms`,
)
if (admission) for (const line of admissionInWords(admission)) say(line)
await mkdir(dirname(options.plot), { recursive: true })
const heading = `${jobs} Jobs in ${options.minutes} minutes (grey: warm-up)`
await writeFile(
  options.plot,
  plot(
    measures.map(measure => ({ ...measure, warmUpMs })),
    heading,
  ),
)
const steep = measures.filter(({ slope, tolerance }) => slope > tolerance)
say(
  `${jobs} Jobs in ${options.minutes} minutes: ${steep.length === 0 ? 'flat' : `grows: ${steep.map(({ title }) => title).join(', ')}`}; ${options.plot}`,
)
process.exitCode = steep.length === 0 ? 0 : 1

function inWords({ title, unit, mean, slope, tolerance }: Measure): string {
  return `${title}: mean ${mean.toFixed(1)}, slope ${slope.toFixed(1)} ${unit} an hour (flat: at most ${tolerance.toFixed(0)})`
}

function admissionInWords({
  pods,
  quiet,
  listing,
  loopDelayMs,
  failures,
}: AdmissionReport): readonly string[] {
  return [
    latencyInWords('quiet', quiet),
    latencyInWords(`while ${pods} pods are listed`, listing),
    `longest event loop delay while they are listed: ${loopDelayMs.toFixed(1)} ms`,
    `admission calls without a patch: ${failures}`,
  ]
}

function latencyInWords(when: string, { calls, p50, p99, most }: AdmissionReport['quiet']): string {
  return `admission ${when}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${most.toFixed(1)} ms of ${calls} calls`
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('must be a positive number')
  return value
}
