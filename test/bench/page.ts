import type { Result, Results } from './result.ts'
import { markdownTable } from './table.ts'

/** docs/benchmarks/README.md: all groups, each with its figures, pictures, and what limits us. */
export const pageOf = (results: Results): string =>
  [INTRODUCTION, ...Object.entries(results).map(section)].join('\n\n') + '\n'

const INTRODUCTION = `# Benchmarks

Made by \`npm run bench\`, not written. Speeds of one machine say little about another, so what counts are ratios: ours and the
peers' are measured in turns in the same run, on the same machine. Each figure has the minimum, median and maximum of its rounds;
what is to be reached is asked of the median. The same for programs: [results.json](results.json). How to run it:
\`test/bench/README.md\`.`

function section([name, result]: [string, Result]): string {
  const { title, figures, charts, method, limit } = result
  return [
    `## ${title}`,
    circumstancesOf(name, result),
    method,
    markdownTable(figures),
    ...charts.map(({ file, title }) => `![${title}](${file})`),
    `**What limits us.** ${limit}`,
  ].join('\n\n')
}

function circumstancesOf(name: string, { date, machine, loadBefore, options, versions }: Result): string {
  const compared = Object.entries(versions)
    .map(([what, version]) => `${what} ${version}`)
    .join(', ')
  const command = ['npm run bench -- --only', name, options].join(' ').trimEnd()
  return `\`${command}\`, ${date}, on ${machine}, load before it ${loadBefore}. ${compared}.`
}
