import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { stringify } from 'yaml'
import { ruleFile } from './monitoring.ts'

/** The tests of the alerts, in promtool's own format. */
const TESTS = new URL('alerts.yaml', import.meta.url)

/**
 * What runs where promtool is not installed. Go compiles it on first use, for about as long as the control plane, which
 * is why it is asked for: `npm run alerts`. Without service discovery, which needs the libraries of every cloud.
 */
const FROM_SOURCE = [
  'go',
  'run',
  '-trimpath',
  '-tags=remove_all_sd',
  'github.com/prometheus/prometheus/cmd/promtool@v0.316.0',
] as const

/** How to call promtool. */
export type Promtool = readonly [string, ...string[]]

/** The one in the PATH, if there is one: Debian has it in its package `prometheus`. */
export async function installedPromtool(): Promise<Promtool | undefined> {
  return promisify(execFile)('promtool', ['--version']).then(
    () => ['promtool'],
    () => undefined,
  )
}

export const anyPromtool = async (): Promise<Promtool> => (await installedPromtool()) ?? [...FROM_SOURCE]

/** Checks the rules and runs their tests. @returns what promtool says. @throws with it where a test fails. */
export async function testAlerts([program, ...args]: Promtool, rules: object = ruleFile): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'prefect-lifeguard-alerts-'))
  const run = async (...command: readonly string[]): Promise<string> => {
    const env = { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GOWORK: 'off' }
    const { stdout } = await promisify(execFile)(program, [...args, ...command], { cwd: folder, env })
    return stdout
  }
  try {
    await writeFile(join(folder, 'rules.yaml'), stringify(rules))
    await copyFile(TESTS, join(folder, 'alerts.yaml'))
    return (await run('check', 'rules', 'rules.yaml')) + (await run('test', 'rules', 'alerts.yaml'))
  } finally {
    await rm(folder, { recursive: true })
  }
}
