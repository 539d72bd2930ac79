import { diagnosisText } from '../core/diagnosis/diagnosis.ts'
import { listed } from '../core/evidence.ts'
import type { Facts } from '../core/facts.ts'
import type { FlowRun, State } from '../core/flow-run.ts'
import type { Cancel, Crash, Decision, JobReference, NewAttempt, Nothing, Report } from '../core/verdict.ts'
import { VERDICT } from './annotations.ts'
import { transitionIdOf } from './write.ts'

/** Verdicts that people hear of. */
export type Telling = Crash | NewAttempt | Cancel | Report | (Nothing & Required<Pick<Nothing, 'diagnosis'>>)

/** What was decided and what came of it, for everyone who is told. */
export interface Story {
  readonly facts: Facts
  readonly run: FlowRun | undefined
  readonly verdict: Telling
  readonly trail: Decision['trail']
  /** What happened to the run, in a word; `reported` where nothing was changed. */
  readonly outcome: Outcome
}

export type Outcome = 'crashed' | 'failed' | 'new-attempt' | 'cancelled' | 'reported' | 'explained'

/** Words for a state message, an Event and a log line alike. */
export function sentenceOf(verdict: Telling): string {
  const text = diagnosisText(verdict.diagnosis)
  if (verdict.kind !== 'report' || verdict.would === 'nothing') return text
  return `${text} (Not set to act: it would have been ${WOULD[verdict.would]}.)`
}

const WOULD = { crash: 'crashed', newAttempt: 'given a new attempt', cancel: 'cancelled' } as const

/** The same verdict on the same state is told once. The outcome comes first and the state last: `wasTold` reads them. */
export const signatureOf = ({ run, verdict, outcome }: Story): string =>
  [outcome, verdict.reason, verdict.diagnosis.code, run?.state.id ?? '-'].join(' ')

/** What the Job's annotation says was told last, by us or by a process before us. */
export function verdictOn(facts: Facts, job: JobReference | undefined): string | undefined {
  const fact = listed(facts.jobs).find(({ job: { metadata } }) => metadata.uid === job?.uid)
  return fact?.job.metadata.annotations[VERDICT]
}

/** What is told after everything that an end brings with it was done. */
const ENDS: ReadonlySet<string> = new Set<Outcome>(['crashed', 'failed', 'explained'])

/** Whether the annotation speaks of the end in this state: of itself, or of the state that we replaced by it. */
export function wasTold(state: State, basis: string, signature = ''): boolean {
  const words = signature.split(' ')
  const id = words.at(-1)
  if (id === undefined || !ENDS.has(words[0] ?? '')) return false
  return id === state.id || transitionIdOf(basis, { id }) === state.transitionId
}
