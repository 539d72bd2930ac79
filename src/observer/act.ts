import type { FlowRun, State, StateType } from '../core/flow-run.ts'
import { ATTEMPT_MARK } from '../core/moves.ts'
import type { Instant } from '../core/objects.ts'
import type { StateProposal } from '../core/proposal.ts'
import type { FailureState } from '../core/settings.ts'
import type { Cancel, Crash, JobReference, NewAttempt, Nothing, Report } from '../core/verdict.ts'
import type { Gathered } from './gather.ts'
import type { InProcessWrites } from './in-process.ts'
import { crashInProcessSubflows } from './in-process.ts'
import type { Outcome, Story, Telling } from './story.ts'
import { sentenceOf, verdictOn, wasTold } from './story.ts'
import type { Written } from './write.ts'
import { settle, write } from './write.ts'
import type { InTurn } from './turns.ts'

/** Everything that a verdict may change or say. */
export interface Acts extends InProcessWrites {
  readonly now: () => Instant
  /** With `report` nothing may be changed in Prefect, not even behind a run that somebody else has ended. */
  readonly failureState: FailureState
  readonly setRetryType: (flowRunId: string, type: 'reschedule', signal: AbortSignal) => Promise<unknown>
  readonly suspendJob: (job: JobReference, signal: AbortSignal) => Promise<'applied' | 'gone' | 'conflict'>
  readonly tell: (story: Story, signal: AbortSignal) => Promise<void>
  readonly onWritten: (flowRunId: string, state: StateType, written: Written) => void
  /** A few runs are moved at a time: where requests wait for the rate limit, what was read before a write is still fresh. */
  readonly inTurn: InTurn
}

export interface Acted {
  /** When to look at the run again, where that is not left to the next event. */
  readonly afterMs?: number
  /** Prefect's rules said no, and may say so as often as they are asked. */
  readonly isRefused?: boolean
}

/** Somebody else moved the run meanwhile: a fresh look, soon. */
const SOON: Acted = { afterMs: 1000 }

const afterwards = (written: Exclude<Written, { kind: 'moved' }>): Acted =>
  written.kind === 'refused' ? { isRefused: true } : SOON

/** Carries a verdict out. Safe to repeat: each write is idempotent and each word is said once. */
export async function act(gathered: Gathered, acts: Acts, signal: AbortSignal): Promise<Acted> {
  const { verdict } = gathered.decision
  switch (verdict.kind) {
    case 'ask':
      throw new Error(`The verdict on flow run ${gathered.facts.flowRunId} still asks for ${verdict.need}`)
    case 'nothing':
      return explain(verdict, { gathered, acts, signal })
    case 'requeue':
      return { afterMs: verdict.afterMs }
    case 'report':
      return reportOnly(verdict, { gathered, acts, signal })
    case 'crash':
      return crash(verdict, { gathered, acts, signal })
    case 'newAttempt':
      return newAttempt(verdict, { gathered, acts, signal })
    case 'cancel':
      return cancel(verdict, { gathered, acts, signal })
  }
}

interface Scene {
  readonly gathered: Gathered
  readonly acts: Acts
  readonly signal: AbortSignal
}

/** Crashed already: by us, perhaps without the look afterwards, or by somebody who did not say why. */
async function explain(verdict: Nothing, scene: Scene): Promise<Acted> {
  const { diagnosis, job } = verdict
  const run = runOf(scene)
  if (!diagnosis || !run) return {}
  const basis = job?.uid ?? run.id
  if (wasTold(run.state, basis, verdictOn(scene.gathered.facts, job))) return {}
  const outcome = await finish(run, basis, scene)
  if (!outcome) return SOON
  await tellIt({ ...verdict, diagnosis }, outcome, scene)
  return {}
}

/** What comes after a crash, as far as it is still to be done. @returns what there is to tell; nothing where the crash does not stand. */
async function finish(run: FlowRun, basis: string, { acts, signal }: Scene): Promise<Outcome | undefined> {
  if (acts.failureState === 'report') return 'explained'
  const { id: flowRunId, state } = run
  const message = state.message ?? ''
  const written = await settle({ flowRunId, basis, state }, acts, signal)
  if (written.kind !== 'moved') {
    acts.onWritten(flowRunId, state.type, written)
    return undefined
  }
  await crashInProcessSubflows({ flowRunId, basis, message }, acts, signal)
  if (!isToBeFailed(written, acts)) return 'explained'
  return (await fail({ flowRunId, basis, message, crashed: state }, acts, signal)) ? 'failed' : undefined
}

/** After this a Crashed run of ours is not made Failed any more: people have seen it, and the setting may be a new one. */
const FAILED_WITHIN_MS = 600_000

/** Our own Crashed, on its way to Failed: whoever proposed that died, or never heard the answer. */
const isToBeFailed = ({ state, isOurs }: Written & { kind: 'moved' }, { failureState, now }: Acts): boolean =>
  isOurs && failureState === 'failed' && now() - state.timestamp < FAILED_WITHIN_MS

async function reportOnly(verdict: Report, scene: Scene): Promise<Acted> {
  await tellIt(verdict, 'reported', scene)
  return verdict.afterMs === undefined ? {} : { afterMs: verdict.afterMs }
}

async function crash(verdict: Crash, scene: Scene): Promise<Acted> {
  const { acts, signal } = scene
  if (verdict.suspend && !(await suspend(verdict, scene))) return SOON
  const message = sentenceOf(verdict)
  const written = await propose(verdict, { type: 'CRASHED', name: 'Crashed', message }, scene)
  if (written.kind !== 'moved') return afterwards(written)
  const { flowRunId } = scene.gathered.facts
  const dead = { flowRunId, basis: basisOf(verdict, flowRunId), message }
  // Before Failed, which may be the last that is ever heard of the run: nobody looks at a final one again.
  await crashInProcessSubflows(dead, acts, signal)
  if (verdict.thenFail && !(await fail({ ...dead, crashed: written.state }, acts, signal))) return SOON
  await tellIt(verdict, verdict.thenFail ? 'failed' : 'crashed', scene)
  return {}
}

/** Suspends the Job, unless its run has moved since: then it may have started after all. @returns whether that was done. */
async function suspend({ job, observed }: Crash, { gathered, acts, signal }: Scene): Promise<boolean> {
  if (!job) return true
  const run = await acts.readFlowRun(gathered.facts.flowRunId, signal)
  return run?.state.id === observed.id && (await acts.suspendJob(job, signal)) === 'applied'
}

interface Failing {
  readonly flowRunId: string
  readonly basis: string
  readonly message: string
  /** Ours, in which the run stands. */
  readonly crashed: State
}

/**
 * From Crashed to Failed: from a live state Prefect would park the run as a retry that nobody carries out.
 * @returns whether it stands.
 */
async function fail(
  { flowRunId, basis, message, crashed }: Failing,
  acts: Acts,
  signal: AbortSignal,
): Promise<boolean> {
  const proposal = { type: 'FAILED', name: 'Failed', message } as const
  const written = await write({ flowRunId, basis, observed: crashed, proposal }, acts, signal)
  acts.onWritten(flowRunId, proposal.type, written)
  return written.kind === 'moved'
}

async function newAttempt(verdict: NewAttempt, scene: Scene): Promise<Acted> {
  const { acts, signal } = scene
  const { flowRunId } = scene.gathered.facts
  if (verdict.replaceRetryType) await acts.setRetryType(flowRunId, 'reschedule', signal)
  const mark = ` (${ATTEMPT_MARK} ${verdict.attempt} of at most ${verdict.maxAttempts})`
  const message = `${sentenceOf(verdict)}${mark}`
  const scheduledTime = acts.now() + verdict.delayMs
  const written = await propose(
    verdict,
    { type: 'SCHEDULED', name: 'AwaitingRetry', message, scheduledTime },
    scene,
  )
  if (written.kind !== 'moved') return afterwards(written)
  await tellIt(verdict, 'new-attempt', scene)
  return {}
}

async function cancel(verdict: Cancel, scene: Scene): Promise<Acted> {
  const message = sentenceOf(verdict)
  const written = await propose(verdict, { type: 'CANCELLED', name: 'Cancelled', message }, scene)
  if (written.kind !== 'moved') return afterwards(written)
  await tellIt(verdict, 'cancelled', scene)
  return {}
}

async function propose(
  verdict: Crash | NewAttempt | Cancel,
  proposal: Omit<StateProposal, 'transitionId'>,
  { gathered, acts, signal }: Scene,
): Promise<Written> {
  const { flowRunId } = gathered.facts
  const move = { flowRunId, basis: basisOf(verdict, flowRunId), observed: verdict.observed, proposal }
  const written = await acts.inTurn(
    async () => (await movedMeanwhile(verdict, { gathered, acts, signal })) ?? write(move, acts, signal),
    signal,
  )
  acts.onWritten(flowRunId, proposal.type, written)
  return written
}

/** Between reading a run and writing to it lie some reads, of milliseconds; where they took longer, it is read again. */
const FRESH_MS = 2000

/** What has become of a run while everything else was read slowly; nothing where it stands as it stood. */
async function movedMeanwhile(
  { observed }: Crash | NewAttempt | Cancel,
  { gathered: { facts, runReadAt }, acts, signal }: Scene,
): Promise<Written | undefined> {
  if (runReadAt === undefined || acts.now() - runReadAt <= FRESH_MS) return undefined
  const run = await acts.readFlowRun(facts.flowRunId, signal)
  if (!run) return { kind: 'refused', answer: 'notFound', reason: 'no such flow run' }
  return run.state.id === observed.id ? undefined : { kind: 'superseded', by: run.state }
}

/** Transition ids rest on the dead Job, or on the run itself where no Job is known. */
const basisOf = ({ job }: Telling, flowRunId: string): string => job?.uid ?? flowRunId

const runOf = ({ gathered: { facts } }: Scene): FlowRun | undefined =>
  facts.flowRun?.known ? facts.flowRun.value : undefined

async function tellIt(verdict: Telling, outcome: Outcome, scene: Scene): Promise<void> {
  const { facts, decision } = scene.gathered
  await scene.acts.tell({ facts, run: runOf(scene), verdict, trail: decision.trail, outcome }, scene.signal)
}
