import { askOnce, nothing, untilOver } from '../answers.ts'
import type { DeadCase } from '../case.ts'
import type { DiagnosisCode } from '../diagnosis/codes.ts'
import { untilHeartIsSilent } from '../heart.ts'
import { cancel } from '../moves.ts'
import { isEndUnseen } from '../unseen-end.ts'
import type { Verdict } from '../verdict.ts'
import type { Rule } from './rule.ts'

/** What the status alone could not explain: here the Events are worth a request. */
const VAGUE: ReadonlySet<DiagnosisCode> = new Set(['unknown', 'backoff_limit_exceeded', 'deadline_exceeded'])

/** No Job and no pod: without a name to look for there is nothing to judge. */
const noJobWasMade = ({ run, death }: DeadCase): Verdict | undefined =>
  death.reason === 'NoTrace' && !run.infrastructurePid ? nothing('NoJobWasMade') : undefined

/** Its node is gone or not Ready, perhaps only cut off: while its heart beats the flow goes on. */
function nodeMayComeBack(facts: DeadCase): Verdict | undefined {
  const since = facts.death.strandedSince
  if (since === undefined) return undefined
  const left = since + facts.settings.graces.nodeLost - facts.facts.now
  return untilOver(left, 'NodeMayComeBack') ?? untilHeartIsSilent(facts)
}

/**
 * Prefect's worker may be about to make the Job, or be on its way to say how it ended. That nothing is there is the
 * weakest of all proofs, so the run's heart has to be silent, too.
 */
function orphanMayLive(facts: DeadCase): Verdict | undefined {
  const { state } = facts.run
  const { orphan, missingJob } = facts.settings.graces
  if (facts.death.reason !== 'NoTrace') return undefined
  const grace = state.type === 'PENDING' ? missingJob : orphan
  return untilOver(state.timestamp + grace - facts.facts.now, 'OrphanIsYoung') ?? untilHeartIsSilent(facts)
}

/** Prefect only lets it go to Cancelled; its worker has had the time to say so. */
function flowRunIsCancelling(facts: DeadCase): Verdict | undefined {
  const { run, settings } = facts
  if (run.state.type !== 'CANCELLING') return undefined
  const left = run.state.timestamp + settings.graces.cancelling - facts.facts.now
  return untilOver(left, 'FlowRunIsCancelling') ?? cancel(facts)
}

/** Nobody saw its processes end, and on a node that is merely cut off they go on: only a silent heart tells. */
const endWasNotSeen = (facts: DeadCase): Verdict | undefined =>
  isEndUnseen(facts) ? untilHeartIsSilent(facts) : undefined

/** The dead make no states: whoever made this one may live, or it was long on its way. */
function stateIsNewerThanDeath(facts: DeadCase): Verdict | undefined {
  const { run, death, settings } = facts
  if (death.reason === 'NoTrace' || run.state.timestamp <= death.since + settings.clockTolerance)
    return undefined
  const left = run.state.timestamp + settings.graces.newerState - facts.facts.now
  return untilOver(left, 'StateIsNewerThanDeath') ?? untilHeartIsSilent(facts)
}

/** The verdict stands; the Events may still say why. A read that fails changes nothing. */
const eventsMayTellWhy = ({ finding, facts }: DeadCase): Verdict | undefined =>
  VAGUE.has(finding.diagnosis.code) ? askOnce('events', facts.events) : undefined

/** What must be waited for before a dead run is moved. A run that none of them speaks for is ended or retried. */
export const RULES_OF_DEATH: readonly Rule<DeadCase>[] = [
  { name: 'noJobWasMade', decide: noJobWasMade },
  { name: 'nodeMayComeBack', decide: nodeMayComeBack },
  { name: 'orphanMayLive', decide: orphanMayLive },
  { name: 'flowRunIsCancelling', decide: flowRunIsCancelling },
  { name: 'endWasNotSeen', decide: endWasNotSeen },
  { name: 'stateIsNewerThanDeath', decide: stateIsNewerThanDeath },
  { name: 'eventsMayTellWhy', decide: eventsMayTellWhy },
]
