import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { z } from 'zod'
import { FLOW_RUN_ID, REVIEW_UID } from './reviews.ts'

export interface LoadOptions {
  /** The load generator. */
  readonly program: string
  readonly port: number
  readonly path: string
  /** A file with the review. */
  readonly review: string
  readonly seconds: number
  readonly connections: number
  /** How many different flow runs; `new` asks about each one once, counting on from the number given. */
  readonly runs: number | { readonly newFrom: number }
}

const loadSchema = z.object({
  requests: z.number(),
  seconds: z.number(),
  /** The load generator's own: as much as `seconds` would mean that it was the bottleneck. */
  cpuSeconds: z.number(),
  /** Latencies in milliseconds. */
  p50: z.number(),
  p99: z.number(),
})

export type Load = z.infer<typeof loadSchema>

/** Sends as many reviews as are answered, from the second core. Throws at the first answer that is none. */
export async function sendReviews(options: LoadOptions): Promise<Load> {
  const { program, port, path, review, seconds, connections, runs } = options
  const [count, first] = typeof runs === 'number' ? [runs, 0] : [0, runs.newFrom]
  const flags = {
    address: `127.0.0.1:${port}`,
    path,
    review,
    uid: REVIEW_UID,
    run: FLOW_RUN_ID,
    runs: count,
    first,
    for: `${seconds}s`,
    connections,
  }
  const args = Object.entries(flags).flatMap(([name, value]) => [`-${name}`, String(value)])
  const { stdout } = await promisify(execFile)('taskset', ['--cpu-list', '1', program, ...args])
  return loadSchema.parse(JSON.parse(stdout))
}
