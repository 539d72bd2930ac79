import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Command, InvalidArgumentError } from 'commander'
import type { AdmissionReport } from './crowd.ts'
import { plot } from './plot.ts'
import { runSoak } from './run.ts'
import type { Measure, SoakReport } from './run.ts'

/**
 * `npm run soak -- --minutes 30`: whether the product stays as large as it is, and whether lists hold admission up.
 * `--minutes 0` is about admission alone. Ends with 1 where something grows, or the time was too short to tell.
 */
const program = new Command('soak')
  .option('--minutes <n>', 'how long; below 10 little can be told', notNegative, 30)
  .option('--seed <n>', 'of the runs', positive, 1)
  .option('--jobs-per-minute <n>', 'load', positive, 120)
  .option('--pods <n>', 'pods to be listed while admission is measured; 0: not at all', notNegative, 10_000)
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

const report = await runSoak({ ...options, durationMs: options.minutes * 60_000, log: say })
if (report.admission) for (const line of admissionInWords(report.admission)) say(line)
if (options.minutes > 0) await tellGrowth(report)

async function tellGrowth({ jobs, measures, warmUpMs, bytesPerRun, loopDelayMs }: SoakReport): Promise<void> {
  for (const measure of measures) say(inWords(measure))
  say(`of a run that has gone, ${(bytesPerRun / 1024).toFixed(1)} KiB are remembered for an hour`)
  say(
    `event loop delay, p99 of each sample: median ${loopDelayMs.median.toFixed(1)} ms, worst ${loopDelayMs.worst.toFixed(1)} ms`,
  )
  await mkdir(dirname(options.plot), { recursive: true })
  const heading = `${jobs} Jobs in ${options.minutes} minutes (grey: warm-up)`
  const series = measures.map(measure => ({ ...measure, caption: inWords(measure), warmUpMs }))
  await writeFile(options.plot, plot(series, heading))
  const bad = measures.filter(({ finding }) => finding !== 'flat')
  const verdict =
    bad.length === 0 ? 'flat' : bad.map(({ title, finding }) => `${title} ${finding}`).join(', ')
  say(`${jobs} Jobs in ${options.minutes} minutes: ${verdict}; ${options.plot}`)
  process.exitCode = bad.length === 0 ? 0 : 1
}

function inWords({ title, unit, mean, trend: { perHour, error }, allowed, finding }: Measure): string {
  const sign = perHour >= 0 ? '+' : ''
  return `${title}: mean ${mean.toFixed(1)}, ${sign}${perHour.toFixed(1)} ± ${(2 * error).toFixed(1)} ${unit} an hour (allowed ${allowed.toFixed(0)}): ${finding}`
}

function admissionInWords({ pods, scenes, failures }: AdmissionReport): readonly string[] {
  return [
    ...scenes.map(
      ({ title, latency: { calls, p50, p99, most }, loopDelayMs }) =>
        `admission, ${pods} pods, ${title}: p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, longest ${most.toFixed(1)} ms of ${calls} calls; longest event loop delay ${loopDelayMs.toFixed(1)} ms`,
    ),
    `admission calls without a patch: ${failures}`,
  ]
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new InvalidArgumentError('must be a positive number')
  return value
}

function notNegative(text: string): number {
  const value = Number(text)
  if (!(value >= 0)) throw new InvalidArgumentError('must be a number, and not negative')
  return value
}
