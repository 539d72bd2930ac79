import type { Logger } from 'pino'
import { known, listed } from '../core/evidence.ts'
import type { Facts } from '../core/facts.ts'
import { lifeOf } from '../core/life.ts'
import type { VerdictSettings } from '../core/settings.ts'
import type { JobReference, Verdict } from '../core/verdict.ts'
import type { Acted, Acts } from './act.ts'
import { act } from './act.ts'
import { DEAD_PODS, PREFIX } from './annotations.ts'
import type { Gathered } from './gather.ts'
import { gather } from './gather.ts'
import { rememberPods } from './pod-memory.ts'
import type { Reads, Seen } from './reads.ts'

export interface ReconcileDeps {
  readonly reads: Reads
  readonly acts: Acts
  readonly settings: VerdictSettings
  readonly logger: Logger
  readonly annotateJob: (
    job: JobReference,
    annotations: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ) => Promise<unknown>
  /** Deaths that nothing is left to be done about, by flow run: further events about them cost no request. */
  readonly settled: {
    readonly get: (flowRunId: string) => string | undefined
    readonly set: (flowRunId: string, death: string) => unknown
  }
  /** How often in a row Prefect has refused to move a run. */
  readonly refusals: {
    readonly get: (flowRunId: string) => number | undefined
    readonly set: (flowRunId: string, times: number) => unknown
    readonly delete: (flowRunId: string) => unknown
  }
  readonly onVerdict: (gathered: Gathered) => void
}

/** These ends need no second look while the death is the same: whoever starts the run again makes a new Job. */
const SETTLED: ReadonlySet<Verdict['kind']> = new Set(['nothing', 'report', 'crash', 'cancel'])

/**
 * Looks at one flow run and does what is to be done: gather, decide, act. Cannot know what woke it, and can be
 * called at any time, any number of times.
 *
 * @returns when to look again, where no event will say so. Rejects where something could not be found out or
 * written; the queue repeats it.
 */
export async function reconcile(flowRunId: string, deps: ReconcileDeps, signal: AbortSignal): Promise<Acted> {
  const seen = deps.reads.seen(flowRunId)
  const death = deathIn(flowRunId, seen, deps.reads.now())
  if (death !== undefined && deps.settled.get(flowRunId) === death) return {}
  const gathered = await gather(flowRunId, { ...deps, signal })
  signal.throwIfAborted()
  deps.onVerdict(gathered)
  const forgotten = await remember(gathered.facts, deps, signal)
  const acted = unlessRefused(flowRunId, await act(gathered, deps.acts, signal), deps)
  const { kind } = gathered.decision.verdict
  if (gathered.trouble && kind === 'requeue') throw gathered.trouble
  if (acted.afterMs !== undefined) return acted
  if (forgotten) throw forgotten
  if (SETTLED.has(kind)) settle(flowRunId, death, deps)
  return acted
}

function settle(flowRunId: string, death: string | undefined, { settled }: ReconcileDeps): void {
  if (death !== undefined) settled.set(flowRunId, death)
}

/** The first wait after a refusal, and the longest: a rule of Prefect's that says no may say so for days. */
const REFUSED_MS = 30_000
const LONGEST_REFUSED_MS = 3_600_000

/** What is refused is proposed again, each time later: the run may move, and whatever Prefect refuses may end. */
function unlessRefused(flowRunId: string, acted: Acted, { refusals, logger }: ReconcileDeps): Acted {
  if (!acted.isRefused) {
    refusals.delete(flowRunId)
    return acted
  }
  const times = (refusals.get(flowRunId) ?? 0) + 1
  refusals.set(flowRunId, times)
  const afterMs = Math.min(REFUSED_MS * 2 ** (times - 1), LONGEST_REFUSED_MS)
  logger.warn(
    { flowRunId, times, retryInMs: afterMs },
    'Prefect refuses to move a dead run: its states and concurrency limits may tell why; will try again',
  )
  return { afterMs }
}

/** Names a death by what died and how, from memory; `undefined` while the run lives. */
function deathIn(flowRunId: string, { jobs, pods }: Seen, now: number): string | undefined {
  const life = lifeOf({ jobs: known(jobs), pods: known(pods), now })
  if (life.kind !== 'dead' || life.reason === 'NoTrace') return undefined
  return [
    flowRunId,
    life.reason,
    life.job?.job.metadata.uid,
    ...pods.map(({ pod }) => pod.metadata.uid).toSorted(),
  ].join(' ')
}

/**
 * Writes down how pods failed while their Job still goes on: its diagnosis must survive them.
 * @returns the first failure to do so. It holds up no verdict, and is worth another look.
 */
async function remember(
  facts: Facts,
  { annotateJob }: ReconcileDeps,
  signal: AbortSignal,
): Promise<Error | undefined> {
  const failures = await Promise.all(
    listed(facts.jobs).map(async fact => {
      const { namespace, name, uid, annotations } = fact.job.metadata
      const memory = fact.gone ? undefined : rememberPods(fact, listed(facts.pods))
      if (memory === undefined || memory === annotations[DEAD_PODS]) return undefined
      const ours = Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX))
      const noted = { ...Object.fromEntries(ours), [DEAD_PODS]: memory }
      return annotateJob({ namespace, name, uid }, noted, signal).then(
        () => undefined,
        (cause: unknown) =>
          new Error(`writing down on Job ${namespace}/${name} how a pod of it ended`, { cause }),
      )
    }),
  )
  return failures.find(failure => failure !== undefined)
}
