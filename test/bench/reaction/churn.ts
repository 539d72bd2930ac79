import { setTimeout as sleep } from 'node:timers/promises'
import type { Cast } from '../observers/cast.ts'
import type { World } from '../observers/world.ts'

export interface Churn {
  readonly namespace: string
  readonly prefix: string
  readonly count: number
  /** New runs a second. */
  readonly perSecond: number
}

/** Long enough for a few hundred to be there at a time. */
const LIVES_MS = [3_000, 20_000] as const

/** Kubernetes clears its Job away so long after a run. */
const TTL_SECONDS = 5

/** Runs that come, run and complete; ends when all have begun. What they do then nobody waits for. */
export async function churn(
  { world, cast }: { readonly world: World; readonly cast: Cast },
  { namespace, prefix, count, perSecond }: Churn,
): Promise<void> {
  const runs = await world.makeRuns({ state: 'PENDING', namespace, prefix, count })
  const began = performance.now()
  const [least, most] = LIVES_MS
  for (const [number, run] of runs.entries()) {
    await sleep(Math.max(0, (number * 1_000) / perSecond - (performance.now() - began)))
    const { promise: end, resolve } = Promise.withResolvers<'completes'>()
    // Lengths go up and down with the number, the same for both sides.
    const livesMs = least + (most - least) * ((number * 0.618) % 1)
    const onRunning = (): void => {
      setTimeout(() => resolve('completes'), livesMs).unref()
    }
    await cast.begin({ run, reports: true, end, onRunning }, { ttlSecondsAfterFinished: TTL_SECONDS })
  }
}
