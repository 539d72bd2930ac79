import { setTimeout as sleep } from 'node:timers/promises'
import type { CountingProxy, Counts } from '../observers/counting-proxy.ts'
import type { Run } from '../observers/world.ts'

/** What an observer has asked so far. */
export interface Asked {
  readonly prefect: Counts
  /** Events that it sent through a web socket. */
  readonly messages: number
  readonly apiserver: Counts
}

const LOOK_MS = 100

/** Ours sends what it tells twice a second; the peer looks again at a Pending run every 5 s. */
const QUIET_MS = 6_000

/** For how long nothing has been asked of Prefect; since then at most. */
const silentMs = ({ lastRequestAt }: Pick<CountingProxy, 'lastRequestAt'>, since: number): number =>
  Date.now() - Math.max(since, lastRequestAt())

/** Resolves when nothing has been asked of Prefect for a while. */
export async function whenQuiet(proxy: CountingProxy): Promise<void> {
  const began = Date.now()
  while (silentMs(proxy, began) < QUIET_MS) await sleep(LOOK_MS)
}

/** Who has asked nothing for so long asks no more; the peer's longest wait is half a minute, for another Job. */
const GIVEN_UP_MS = 60_000

/** Resolves when all of them are Crashed, or nobody asks Prefect any more: how many are not. */
export async function whenAnswered(
  dying: readonly Pick<Run, 'flowRunId'>[],
  proxy: Pick<CountingProxy, 'crashedAt' | 'lastRequestAt'>,
  givenUpMs: number = GIVEN_UP_MS,
): Promise<number> {
  const began = Date.now()
  const unanswered = (): number =>
    dying.filter(({ flowRunId }) => proxy.crashedAt(flowRunId) === undefined).length
  while (unanswered() > 0 && silentMs(proxy, began) <= givenUpMs) await sleep(LOOK_MS)
  return unanswered()
}

/**
 * Ours asks about a run whose Job completed when its grace is over (30 s), and then waits for the next full ten seconds,
 * so that many are asked about together.
 */
export const LATEST_QUESTION_MS = 40_000

/** What was asked between two moments. */
export const between = (before: Asked, after: Asked): Asked => ({
  prefect: less(after.prefect, before.prefect),
  messages: after.messages - before.messages,
  apiserver: less(after.apiserver, before.apiserver),
})

const less = (after: Counts, before: Counts): Counts =>
  new Map(
    [...after]
      .map(([what, count]) => [what, count - (before.get(what) ?? 0)] as const)
      .filter(([, count]) => count > 0),
  )

export const total = (counts: Counts): number => [...counts.values()].reduce((sum, count) => sum + count, 0)
