import { askOnce, missing, nothing, report, requeue } from '../answers.ts'
import type { Case } from '../case.ts'
import type { DiagnosisCode } from '../diagnosis/codes.ts'
import type { PodFact } from '../facts.ts'
import { endOfPod, hasStarted } from '../life.ts'
import type { Instant } from '../objects.ts'
import type { VerdictSettings } from '../settings.ts'
import { mayRun } from '../stranded.ts'
import { unseenEndOf } from '../unseen-end.ts'
import type { Verdict } from '../verdict.ts'
import type { Rule } from './rule.ts'

/** How often a run is looked at while no container of a living pod has started: FailedCreate makes no pod event. */
const STARTING_MS = 30_000

/** Some Job has no terminal condition, or some pod may still run: the run lives, whatever Prefect says. */
function runIsAlive({ life, stuck }: Case): Verdict | undefined {
  if (life.kind !== 'alive' || stuck) return undefined
  return life.reason === 'JobIsSuspended' || hasStarted(life.pods) ? nothing(life.reason) : undefined
}

/** A list that failed is unknown, never none; pods that are overdue may be on a node that is lost. */
function clusterIsUnknown({ life }: Case): Verdict | undefined {
  if (life.kind !== 'unknown') return undefined
  return life.reason === 'NodesUnknown' ? missing('nodes', life.nodes) : requeue(life.reason)
}

/** Alive, and no container has started, or none again. After a while the Events may say why: a quota, a volume. */
function nothingHasStarted(run: Case): Verdict | undefined {
  const { life, stuck, facts } = run
  if (life.kind !== 'alive' || stuck) return undefined
  const isNew = facts.now - nothingRunsSince(run) < STARTING_MS
  const question = isNew ? undefined : askOnce('events', facts.events)
  return question ?? requeue('NothingHasStarted', STARTING_MS)
}

/**
 * Since its Job was made, or the last of its pods ended: each run that ends comes by here, for its Job says so only a
 * moment later. A node whose clock is ahead ends no pod in the future.
 */
function nothingRunsSince({ facts: { now }, newest, pods }: Case): Instant {
  const ends = pods.filter(fact => !mayRun(fact)).map(endOfPod)
  return Math.max(newest?.job.metadata.creationTimestamp ?? now, ...ends.filter(end => end <= now))
}

/** Alive, but it cannot start: told at once, acted upon only by setting and after its grace. */
function startIsStuck(facts: Case): Verdict | undefined {
  const { stuck, settings } = facts
  if (!stuck) return undefined
  const told = { reason: 'StartIsStuck', would: 'nothing' } as const
  if (settings.stuckStart === 'report') return report(facts, told)
  if (stuck.all.length === 0) return report(facts, { ...told, afterMs: STARTING_MS })
  const ends = stuck.all.map(({ since, diagnosis }) => since + stuckStartGraceOf(diagnosis.code, settings))
  const left = Math.max(...ends) - facts.facts.now
  return left > 0 ? report(facts, { ...told, would: 'crash', afterMs: left }) : undefined
}

const stuckStartGraceOf = (
  code: DiagnosisCode,
  { stuckStartGraces, stuckStartGrace }: VerdictSettings,
): number => stuckStartGraces[code] ?? stuckStartGrace

/** Runs that completed within this time are asked about together: one request for fifty instead of one for each. */
const TOGETHER_MS = 10_000

/** Whoever is looked at just before that must not come too late for the others. */
const TOGETHER_SLACK_MS = 100

/**
 * A Job that completed, or something whose end we did not see: its run is about to report, or has. Prefect is not
 * asked yet.
 */
function lastReportMayBeOnItsWay({ life, pods, settings, facts }: Case): Verdict | undefined {
  if (life.kind !== 'dead') return undefined
  const saidNothing = life.reason === 'JobComplete' || life.job?.gone?.finalStateUnknown === true
  const quietEnds = [...(saidNothing ? [life.since] : []), ...pods.flatMap(unseenEnd)]
  const end = Math.max(-Infinity, ...quietEnds) + settings.graces.exitedWithoutReporting
  const together = Math.ceil(end / TOGETHER_MS) * TOGETHER_MS
  const left = together - facts.now
  return left > 0 ? { ...requeue('RunHasJustEnded'), afterMs: Math.max(left, TOGETHER_SLACK_MS) } : undefined
}

/** When a pod went that nobody saw end: deleted by force, its flow may still be handling SIGTERM. */
const unseenEnd = (fact: PodFact): Instant | readonly [] => unseenEndOf(fact) ?? []

/** Whether Kubernetes has given up. Most keys end here, without a request to Prefect. */
export const RULES_OF_LIFE: readonly Rule<Case>[] = [
  { name: 'runIsAlive', decide: runIsAlive },
  { name: 'clusterIsUnknown', decide: clusterIsUnknown },
  { name: 'nothingHasStarted', decide: nothingHasStarted },
  { name: 'startIsStuck', decide: startIsStuck },
  { name: 'lastReportMayBeOnItsWay', decide: lastReportMayBeOnItsWay },
]
