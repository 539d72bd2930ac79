import type { Logger } from 'pino'
import { known, listed } from '../core/evidence.ts'
import type { Facts } from '../core/facts.ts'
import { lifeOf } from '../core/life.ts'
import type { VerdictSettings } from '../core/settings.ts'
import type { JobReference, Verdict } from '../core/verdict.ts'
import type { Acted, Acts } from './act.ts'
import { act } from './act.ts'
import { DEAD_PODS, PREFIX } from './annotations.ts'
import type { Gathered, Reads, Seen } from './gather.ts'
import { gather } from './gather.ts'
import { rememberPods } from './pod-memory.ts'

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
  await remember(gathered.facts, deps, signal)
  const acted = await act(gathered, deps.acts, signal)
  if (gathered.trouble && gathered.decision.verdict.kind === 'requeue') throw gathered.trouble
  if (death !== undefined && acted.afterMs === undefined && SETTLED.has(gathered.decision.verdict.kind))
    deps.settled.set(flowRunId, death)
  return acted
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

/** Writes down how pods failed while their Job still goes on: its diagnosis must survive them. */
async function remember(
  facts: Facts,
  { annotateJob, logger }: ReconcileDeps,
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(
    listed(facts.jobs)
      .filter(fact => !fact.gone)
      .map(async fact => {
        const { namespace, name, uid, annotations } = fact.job.metadata
        const memory = rememberPods(fact, listed(facts.pods))
        if (memory === undefined || memory === annotations[DEAD_PODS]) return
        const ours = Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX))
        const job = { namespace, name, uid }
        try {
          await annotateJob(job, { ...Object.fromEntries(ours), [DEAD_PODS]: memory }, signal)
        } catch (err) {
          logger.warn(
            { err, flowRunId: facts.flowRunId, namespace, job: name },
            'could not write down how a pod ended',
          )
        }
      }),
  )
}
