// The program behind `cli.ts up`: holds an environment until it is told to end. Tells its parent, over the IPC channel,
// what it is doing, and where everything is or why it failed.
import { startEnvironment } from './environment.ts'
import type { EnvironmentOptions, Places } from './environment.ts'
import { removeState, writeState } from './state.ts'

/** What the parent hears. */
export type News =
  | { readonly kind: 'line'; readonly line: string }
  | { readonly kind: 'ready'; readonly places: Places }
  | { readonly kind: 'failed'; readonly reason: string }

const log = (line: string): void => {
  process.stdout.write(`${new Date().toISOString()} ${line}\n`)
  tell({ kind: 'line', line })
}
const tell = (news: News): void => {
  if (process.connected) process.send?.(news)
}
// The parent of the same version gives them as JSON.
const options = JSON.parse(process.argv[2] ?? '{}') as Omit<EnvironmentOptions, 'log'>
const ended = Promise.withResolvers<void>()
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => ended.resolve())

try {
  const environment = await startEnvironment({ ...options, log })
  await writeState({ pid: process.pid, places: environment.places })
  tell({ kind: 'ready', places: environment.places })
  if (process.connected) process.disconnect()
  const keepAlive = setInterval(() => {}, 60_000)
  await ended.promise
  clearInterval(keepAlive)
  log('stopping')
  await environment.stop()
  log('stopped')
} catch (error) {
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.stdout.write(`${reason}\n`)
  tell({ kind: 'failed', reason })
  if (process.connected) process.disconnect()
  process.exitCode = 1
} finally {
  await removeState()
}
