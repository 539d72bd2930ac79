import type { FlowRun } from '../../core/flow-run.ts'
import { act } from '../../observer/act.ts'
import { gather } from '../../observer/gather.ts'
import { createObserverMetrics } from '../../observer/metrics.ts'
import type { Watched } from '../../observer/deps.ts'
import { createReconcileDeps } from '../../observer/wiring.ts'
import type { Written } from '../../observer/write.ts'
import { connectionsOf, fencedBy, outboxOf } from '../connections.ts'
import type { Foundation } from '../foundation.ts'
import type { ScannedRun } from './scan.ts'
import { isMove, settingsToAct } from './scan.ts'

/** What became of one run. */
export interface Fixed {
  readonly flowRunId: string
  readonly name: string
  /**
   * `moved`: its verdict was carried out. `spared`: a second look found that it needs none any more. `failed`: it could
   * not be looked at or written; `why` says so.
   */
  readonly outcome: 'moved' | 'spared' | 'failed'
  readonly why?: string
  /** Where the run stands now, where that is known. */
  readonly state?: string
}

/**
 * Carries verdicts out, by the observer's own hands: the same writes, told in the same places. A person may have taken
 * minutes to say yes, so each run is looked at anew right before, and what is no longer dead is left alone.
 *
 * @returns how each of them ended; rejects only by the signal.
 */
export async function fix(
  foundation: Foundation,
  scanned: readonly ScannedRun[],
  signal: AbortSignal,
): Promise<readonly Fixed[]> {
  const hands = handsOf(foundation)
  const fixed: Fixed[] = []
  for (const { run } of scanned)
    // oxlint-disable-next-line no-await-in-loop -- one after the other: nobody is in a hurry here, and both APIs are shared
    fixed.push(await fixOne(run, hands, signal))
  await hands.sayLastWords()
  return fixed
}

interface Hands {
  readonly foundation: Foundation
  readonly deps: ReturnType<typeof createReconcileDeps>
  readonly sayLastWords: () => Promise<void>
}

/** What the watch would hold; everything here is read live. */
const NOTHING: Watched<never> = { list: () => [], byIndex: () => [] }

/** Where nothing is remembered, nothing is settled. */
const NEVER_SETTLED = { get: () => undefined, set: () => undefined }

function handsOf(foundation: Foundation): Hands {
  const outbox = outboxOf(foundation)
  const metrics = createObserverMetrics(foundation.registry)
  const connections = connectionsOf(
    { foundation, metrics, outbox },
    fencedBy(() => true),
  )
  const deps = createReconcileDeps(
    {
      jobs: () => NOTHING,
      pods: () => NOTHING,
      ...connections,
      settings: settingsToAct(foundation.config.verdict),
    },
    { seen: () => ({ jobs: [], pods: [] }), settled: NEVER_SETTLED },
  )
  return { foundation, deps, sayLastWords: () => outbox.run(AbortSignal.abort()) }
}

async function fixOne(run: FlowRun, hands: Hands, signal: AbortSignal): Promise<Fixed> {
  const who = { flowRunId: run.id, name: run.name }
  try {
    return { ...who, ...(await lookAndAct(run.id, hands, signal)) }
  } catch (error) {
    signal.throwIfAborted()
    return { ...who, outcome: 'failed', why: error instanceof Error ? error.message : String(error) }
  }
}

async function lookAndAct(
  flowRunId: string,
  { foundation, deps }: Hands,
  signal: AbortSignal,
): Promise<Omit<Fixed, 'flowRunId' | 'name'>> {
  const gathered = await gather(flowRunId, { ...deps, signal })
  const { verdict } = gathered.decision
  if (!isMove(verdict)) return { outcome: 'spared', why: verdict.reason }
  const all: Written[] = []
  const onWritten: typeof deps.acts.onWritten = (id, state, written) => {
    all.push(written)
    deps.acts.onWritten(id, state, written)
  }
  await act(gathered, { ...deps.acts, onWritten }, signal)
  const why = all.length === 0 ? 'its Job could not be suspended' : all.map(troubleOf).find(Boolean)
  const state = (await foundation.prefect.readFlowRun(flowRunId, signal))?.state.name ?? 'gone'
  return why === undefined ? { outcome: 'moved', state } : { outcome: 'failed', why, state }
}

function troubleOf(written: Written): string | undefined {
  if (written.kind === 'moved') return undefined
  return written.kind === 'refused'
    ? `Prefect refused: ${written.reason}`
    : 'somebody else moved it meanwhile'
}
