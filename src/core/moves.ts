import { jobReferenceOf, missing, report } from './answers.ts'
import type { DeadCase, RunCase } from './case.ts'
import type { FlowRun, State } from './flow-run.ts'
import { isInProcessRetry } from './flow-run.ts'
import type { Cancel, Crash, NewAttempt, Verdict } from './verdict.ts'

/** Stands in the message of every AwaitingRetry state of ours, so that the history itself counts our attempts. */
export const ATTEMPT_MARK = 'prefect-lifeguard: new attempt'

/**
 * Kubernetes has given up and the run is Running, Pending or a stranded retry. Prefect's retries come first, where
 * it has any left and a worker can carry them out; else the run has crashed.
 */
export function endOrRetry(facts: DeadCase): Verdict {
  const { run, death, settings } = facts
  const ended = unlessReporting(facts, crash(facts, death.reason))
  if (!settings.honourRetries || death.reason === 'JobStopped' || !hasRetriesLeft(run, 0)) return ended
  const { states } = facts.facts
  if (!states?.known) return missing('states', states)
  const caused = attemptsCaused(states.value)
  if (!hasRetriesLeft(run, caused)) return ended
  const isAllowed = caused < settings.maxNewAttempts
  return unlessReporting(
    facts,
    isAllowed ? newAttempt(facts, caused + 1) : crash(facts, 'NewAttemptsAreUsedUp'),
  )
}

/** It could not start for longer than its grace. No new attempt: the Job that is stuck is the attempt. */
export const endStuck = (facts: RunCase): Verdict => unlessReporting(facts, crash(facts, 'StartIsStuck'))

/** Cancelling and dead: Cancelled is the only state that Prefect lets it go to. */
export const cancel = (facts: DeadCase): Verdict =>
  unlessReporting(facts, { kind: 'cancel', reason: 'FlowRunIsCancelling', ...groundsOf(facts) })

/**
 * Whether Prefect would run it again. `run_count` counts every entry into Running, Kubernetes' pod retries too:
 * that is Prefect's own arithmetic (server/orchestration/core_policy.py, RetryFailedFlows), which knows no attempt
 * that died before it was Running: such a one counts, too. A stranded retry was granted already. Without a
 * deployment no worker can take it up: Prefect aborts the proposal.
 *
 * @param caused how many of the run's attempts were new ones of ours; one came before them.
 */
const hasRetriesLeft = (run: FlowRun, caused: number): boolean =>
  run.deploymentId !== undefined &&
  (isInProcessRetry(run) || Math.max(run.runCount, caused + 1) <= (run.retries ?? 0))

/** How many of the run's attempts are ours, by its own history: a restart forgets none. */
const attemptsCaused = (states: readonly State[]): number =>
  states.filter(({ name, message }) => name === 'AwaitingRetry' && message?.includes(ATTEMPT_MARK)).length

const groundsOf = ({ run, finding, newest }: RunCase): Pick<Crash, 'observed' | 'diagnosis' | 'job'> => ({
  observed: run.state,
  diagnosis: finding.diagnosis,
  ...jobReferenceOf(newest),
})

const crash = (facts: RunCase, reason: string): Crash => ({
  kind: 'crash',
  reason,
  thenFail: facts.settings.failureState === 'failed',
  suspend: facts.stuck !== undefined && facts.settings.stuckStart === 'crash-and-suspend',
  ...groundsOf(facts),
})

const newAttempt = (facts: DeadCase, attempt: number): NewAttempt => ({
  kind: 'newAttempt',
  reason: isInProcessRetry(facts.run) ? 'RetryIsStranded' : 'RetriesAreLeft',
  delayMs: (facts.run.retryDelaySeconds ?? 0) * 1000,
  replaceRetryType: facts.run.retryType === 'in_process',
  attempt,
  maxAttempts: facts.settings.maxNewAttempts,
  ...groundsOf(facts),
})

/** Where nothing may be changed, the same verdict becomes a sentence: what would have been done. */
const unlessReporting = (facts: RunCase, move: Crash | NewAttempt | Cancel): Verdict =>
  facts.settings.failureState === 'report' ? report(facts, { reason: move.reason, would: move.kind }) : move
