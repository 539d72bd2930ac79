import type { Registry } from 'prom-client'
import { known } from '../core/evidence.ts'
import { hasEnded, lifeOf } from '../core/life.ts'
import { FLOW_RUN_ID_LABEL } from '../core/names.ts'
import type { Job, Pod } from '../core/objects.ts'
import type { VerdictSettings } from '../core/settings.ts'
import type { Watched } from '../observer/deps.ts'
import type { Story } from '../observer/story.ts'
import { sentenceOf } from '../observer/story.ts'
import type { Check } from '../operations/status-report.ts'
import type { StatusReport, ToldVerdict, WatchedRun } from '../operations/status-report.ts'

/** A verdict with its text and trail is some 2 KB: half a megabyte when full. */
export const KEPT_VERDICTS = 200

/** A page for people; whoever wants all has `kubectl get jobs` and `prefect-lifeguard scan`. */
const SHOWN_RUNS = 50

/** What a story leaves behind for the page: words, no objects. */
export function toldVerdict({ facts, run, verdict, trail, outcome }: Story, at: number): ToldVerdict {
  return {
    at,
    flowRunId: facts.flowRunId,
    name: run?.name ?? facts.flowRunId,
    job: verdict.job ? `${verdict.job.namespace}/${verdict.job.name}` : 'none',
    code: verdict.diagnosis.code,
    outcome,
    isDeath: lifeOf(facts).kind === 'dead' || outcome !== 'reported',
    text: sentenceOf(verdict),
    trail: trail.rules.map(({ rule, answer }) => (answer === undefined ? rule : `${rule}: ${answer}`)),
  }
}

/** The runs whose Jobs and pods are watched, counted, and the newest of them. */
export function watchedRuns(jobs: Watched<Job>, pods: Watched<Pod>, now: number): StatusReport['watched'] {
  const all = [...jobs.list()]
  const newestFirst = all.toSorted((a, b) => b.metadata.creationTimestamp - a.metadata.creationTimestamp)
  const byRun = Map.groupBy(newestFirst, ({ metadata }) => metadata.labels[FLOW_RUN_ID_LABEL] ?? '')
  const [active, ended] = partition(
    [...byRun],
    ([, [newest]]) => newest !== undefined && !hasEnded({ job: newest }),
  )
  const shown = [...active, ...ended].slice(0, SHOWN_RUNS)
  return {
    runs: byRun.size,
    jobs: all.length,
    pods: [...pods.list()].length,
    shown: shown.flatMap(([flowRunId, [newest]]) =>
      newest
        ? [
            watchedRun(flowRunId, newest, {
              jobs: byRun.get(flowRunId) ?? [],
              pods: pods.byIndex(flowRunId),
              now,
            }),
          ]
        : [],
    ),
  }
}

interface Around {
  readonly jobs: readonly Job[]
  readonly pods: readonly Pod[]
  readonly now: number
}

function watchedRun(flowRunId: string, newest: Job, { jobs, pods, now }: Around): WatchedRun {
  const life = lifeOf({
    jobs: known(jobs.map(job => ({ job }))),
    pods: known(pods.map(pod => ({ pod }))),
    now,
  })
  const { namespace, name, creationTimestamp } = newest.metadata
  return {
    flowRunId,
    job: `${namespace}/${name}`,
    state: life.reason,
    isAlive: life.kind === 'alive',
    pods: pods.map(({ status }) => status.phase).join(', ') || 'none',
    createdAt: creationTimestamp,
  }
}

function partition<T>(all: readonly T[], isFirst: (item: T) => boolean): [readonly T[], readonly T[]] {
  return [all.filter(isFirst), all.filter(item => !isFirst(item))]
}

const MODES: Readonly<Record<VerdictSettings['failureState'], string>> = {
  report: 'Verdicts are told; no state is changed.',
  crashed: 'Dead runs become Crashed, or get a new attempt where Prefect’s retries allow one.',
  failed: 'Dead runs become Failed, or get a new attempt where Prefect’s retries allow one.',
}

/** What becomes of dead runs, in words. */
export const modeOf = ({ failureState }: VerdictSettings): string => MODES[failureState]

/** As the metric says it: closed, half open, open. */
const BREAKER: readonly Omit<Check, 'name'>[] = [
  { ok: true, detail: 'it answers' },
  { ok: false, detail: 'it is tried again after an outage' },
  { ok: false, detail: 'it does not answer: verdicts wait' },
]

/** How it stands with Prefect, by what its circuit breaker has seen. */
export async function prefectCheck(registry: Registry): Promise<Check> {
  const metric = await registry.getSingleMetric('lifeguard_prefect_breaker_state')?.get()
  const state = metric?.values[0]?.value ?? 0
  return { name: 'Prefect', ...(BREAKER[state] ?? { ok: false, detail: `breaker in state ${state}` }) }
}

/** A page is made at most so often: whoever asks more often gets the last one, and costs admission nothing. */
const FRESH_MS = 2000

/** Makes a page now and then, and hands out the last one in between. */
export function seldom(make: () => Promise<string>, now: () => number): () => Promise<string> {
  let last: { readonly at: number; readonly page: Promise<string> } | undefined
  return () => {
    if (!last || now() - last.at >= FRESH_MS) last = { at: now(), page: make() }
    return last.page
  }
}
