import { jobReferenceOf, missing, nothing, report, untilOver } from '../answers.ts'
import { attemptOf, isNamedBy } from '../attempt.ts'
import type { RunCase } from '../case.ts'
import { isOwned } from '../case.ts'
import type { FlowRun } from '../flow-run.ts'
import { isFinal, isInProcessRetry } from '../flow-run.ts'
import { FLOW_RUN_ID_LABEL } from '../names.ts'
import type { Job } from '../objects.ts'
import type { Verdict } from '../verdict.ts'
import type { Rule } from './rule.ts'

/** Nobody waits for it and its owner sees it: not ours. */
const flowRunIsTopLevel = ({ run }: RunCase): Verdict | undefined =>
  run.parentTaskRunId === undefined ? nothing('FlowRunIsTopLevel') : undefined

/** It has ended. Where somebody else called it Crashed, we may still know why. */
function flowRunIsFinal({ run, life, finding, newest }: RunCase): Verdict | undefined {
  if (!isFinal(run.state)) return undefined
  if (run.state.type !== 'CRASHED' || life.kind !== 'dead') return nothing('FlowRunIsFinal')
  return { ...nothing('FlowRunCrashedAlready'), diagnosis: finding.diagnosis, ...jobReferenceOf(newest) }
}

/** A worker will take it up, or a person will resume it; a Job of such a run ends on purpose. */
function flowRunWaits({ run }: RunCase): Verdict | undefined {
  if (run.state.type === 'PAUSED') return nothing('FlowRunIsPaused')
  return run.state.type === 'SCHEDULED' && !isInProcessRetry(run) ? nothing('FlowRunIsScheduled') : undefined
}

/** Prefect's worker deletes the Job of a run that is being cancelled; while it lives, that is on its way. */
const workerIsCancelling = ({ run, life }: RunCase): Verdict | undefined =>
  run.state.type === 'CANCELLING' && life.kind === 'alive' ? nothing('WorkerIsCancelling') : undefined

/** A watch lags behind. Whatever the run's state came from was there before the run was read: list now. */
const cacheIsNoProof = ({ facts }: RunCase): Verdict | undefined =>
  facts.isLive ? undefined : missing('cluster', undefined)

/**
 * Anybody who may create Jobs can label one with somebody else's run. `infrastructure_pid` must name a Job of the
 * run, or be null; else the Job that it names has to be gone for certain.
 */
function jobIsSomebodyElses(facts: RunCase): Verdict | undefined {
  const { run, jobs } = facts
  if (!run.infrastructurePid || jobs.some(job => isNamedBy(run, job))) return undefined
  const { namedJob } = facts.facts
  if (!namedJob?.known) return missing('namedJob', namedJob)
  if (mayBeOf(run, namedJob.value)) return nothing('AnotherJobIsNamed')
  if (isOwned(facts) || hasPodOfNamedJob(facts)) return undefined
  return report(facts, { reason: 'NamedJobIsNotHere', would: 'nothing' })
}

/** Under a fixed `metadata.name` the name comes again with another run: the Job that was meant is gone then. */
const mayBeOf = ({ id }: FlowRun, job: Job | undefined): boolean =>
  job !== undefined && (job.metadata.labels[FLOW_RUN_ID_LABEL] ?? id) === id

/** A pod outlives its Job for a while, and says that the Job was in this cluster and in no other. */
const hasPodOfNamedJob = ({ run, pods }: RunCase): boolean =>
  pods.some(({ pod: { metadata } }) =>
    metadata.ownerReferences.some(
      ({ kind, name }) => kind === 'Job' && `${metadata.namespace}:${name}` === run.infrastructurePid,
    ),
  )

/** A worker took the run up again, and the Job of that attempt is still to come. */
function attemptHasNoJobYet(facts: RunCase): Verdict | undefined {
  const { graces } = facts.settings
  const { now } = facts.facts
  const attempt = attemptOf(facts)
  switch (attempt.kind) {
    case 'current':
      return undefined
    case 'unknown':
      return missing('states', attempt.evidence)
    case 'closeCall':
      return untilOver(attempt.startedAt + graces.closeCall - now, 'AttemptIsCloseCall')
    case 'jobToCome':
      return (
        untilOver(attempt.startedAt + graces.missingJob - now, 'JobIsToCome') ??
        report(facts, { reason: 'JobNeverCame', would: 'nothing' })
      )
  }
}

/** Whether the run is one that an end or a new attempt can help, and whether what we saw is proof. */
export const RULES_OF_RUN: readonly Rule<RunCase>[] = [
  { name: 'flowRunIsTopLevel', decide: flowRunIsTopLevel },
  { name: 'flowRunIsFinal', decide: flowRunIsFinal },
  { name: 'flowRunWaits', decide: flowRunWaits },
  { name: 'workerIsCancelling', decide: workerIsCancelling },
  { name: 'cacheIsNoProof', decide: cacheIsNoProof },
  { name: 'jobIsSomebodyElses', decide: jobIsSomebodyElses },
  { name: 'attemptHasNoJobYet', decide: attemptHasNoJobYet },
]
