import type { FlowRun, StateType } from '../core/flow-run.ts'
import { ATTEMPT_MARK } from '../core/moves.ts'
import type { Instant } from '../core/objects.ts'
import type { StateProposal } from '../core/proposal.ts'
import type { Cancel, Crash, JobReference, NewAttempt, Nothing, Report } from '../core/verdict.ts'
import type { Gathered } from './gather.ts'
import type { InProcessWrites } from './in-process.ts'
import { crashInProcessSubflows } from './in-process.ts'
import type { Outcome, Story, Telling } from './story.ts'
import { sentenceOf, verdictOn, wasTold } from './story.ts'
import type { Written } from './write.ts'
import { settle, write } from './write.ts'

/** Everything that a verdict may change or say. */
export interface Acts extends InProcessWrites {
  readonly now: () => Instant
  /** Whether nothing may be changed in Prefect, not even behind a run that somebody else has ended. */
  readonly isReportOnly: boolean
  readonly setRetryType: (flowRunId: string, type: 'reschedule', signal: AbortSignal) => Promise<unknown>
  readonly suspendJob: (job: JobReference, signal: AbortSignal) => Promise<'applied' | 'gone' | 'conflict'>
  readonly tell: (story: Story, signal: AbortSignal) => Promise<void>
  readonly onWritten: (flowRunId: string, state: StateType, written: Written) => void
}

/** When to look at the run again, where that is not left to the next event. */
export interface Acted {
  readonly afterMs?: number
}

/** Somebody else moved the run meanwhile: a fresh look, soon. */
const SOON: Acted = { afterMs: 1000 }

/** Prefect's rules said no, and would say so again in a second. */
const LATER: Acted = { afterMs: 30_000 }

const afterwards = (written: Exclude<Written, { kind: 'moved' }>): Acted =>
  written.kind === 'refused' ? LATER : SOON

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
  if (!scene.acts.isReportOnly && !(await finish(run, basis, scene))) return SOON
  await tellIt({ ...verdict, diagnosis }, 'explained', scene)
  return {}
}

/** What comes after a crash, as far as it is still to be done. @returns whether the crash stands. */
async function finish(
  { id: flowRunId, state }: FlowRun,
  basis: string,
  { acts, signal }: Scene,
): Promise<boolean> {
  const written = await settle({ flowRunId, basis, state }, acts, signal)
  if (written.kind !== 'moved') {
    acts.onWritten(flowRunId, state.type, written)
    return false
  }
  await crashInProcessSubflows({ flowRunId, basis, message: state.message ?? '' }, acts, signal)
  return true
}

async function reportOnly(verdict: Report, scene: Scene): Promise<Acted> {
  await tellIt(verdict, 'reported', scene)
  return verdict.afterMs === undefined ? {} : { afterMs: verdict.afterMs }
}

async function crash(verdict: Crash, scene: Scene): Promise<Acted> {
  const { acts, signal } = scene
  if (verdict.suspend && verdict.job && (await acts.suspendJob(verdict.job, signal)) !== 'applied')
    return SOON
  const message = sentenceOf(verdict)
  const written = await propose(verdict, { type: 'CRASHED', name: 'Crashed', message }, scene)
  if (written.kind !== 'moved') return afterwards(written)
  const { flowRunId } = scene.gathered.facts
  if (verdict.thenFail && !(await fail(verdict, written, scene))) return SOON
  await crashInProcessSubflows({ flowRunId, basis: basisOf(verdict, flowRunId), message }, acts, signal)
  await tellIt(verdict, verdict.thenFail ? 'failed' : 'crashed', scene)
  return {}
}

/** From Crashed to Failed: from a live state Prefect would park the run as a retry that nobody carries out. */
async function fail(verdict: Crash, { state }: Written & { kind: 'moved' }, scene: Scene): Promise<boolean> {
  const message = sentenceOf(verdict)
  const written = await propose(
    { ...verdict, observed: state },
    { type: 'FAILED', name: 'Failed', message },
    scene,
  )
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
  const written = await write(move, acts, signal)
  acts.onWritten(flowRunId, proposal.type, written)
  return written
}

/** Transition ids rest on the dead Job, or on the run itself where no Job is known. */
const basisOf = ({ job }: Telling, flowRunId: string): string => job?.uid ?? flowRunId

const runOf = ({ gathered: { facts } }: Scene): FlowRun | undefined =>
  facts.flowRun?.known ? facts.flowRun.value : undefined

async function tellIt(verdict: Telling, outcome: Outcome, scene: Scene): Promise<void> {
  const { facts, decision } = scene.gathered
  await scene.acts.tell({ facts, run: runOf(scene), verdict, trail: decision.trail, outcome }, scene.signal)
}
