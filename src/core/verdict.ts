import type { Diagnosis } from './diagnosis/diagnosis.ts'
import type { Need } from './facts.ts'
import type { State } from './flow-run.ts'

/** The Job a verdict rests on, named so that a later object under the same name is never mistaken for it. */
export interface JobReference {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

interface Why {
  /** Stable, CamelCase; logged, counted, tested. */
  readonly reason: string
}

/** What both a move and a report carry. */
interface Grounds extends Why {
  readonly diagnosis: Diagnosis
  readonly job?: JobReference
}

/** A move proposed from one observed state; if another state is found in its place, the move is void. */
interface Move extends Grounds {
  readonly observed: State
}

/** Leave the run alone. `diagnosis` is there when somebody else ended a run whose death we can explain. */
export interface Nothing extends Why {
  readonly kind: 'nothing'
  readonly diagnosis?: Diagnosis
  readonly job?: JobReference
}

/** A rule cannot answer without this fact: read it and decide again. Never leaves the observer. */
export interface Ask extends Why {
  readonly kind: 'ask'
  readonly need: Need
}

/** Look again; `afterMs` is when waiting will have helped. */
export interface Requeue extends Why {
  readonly kind: 'requeue'
  readonly afterMs: number
}

/** Prefect's retries allow another attempt: Scheduled/AwaitingRetry. */
export interface NewAttempt extends Move {
  readonly kind: 'newAttempt'
  /** Prefect's `retry_delay`, in milliseconds. */
  readonly delayMs: number
  /** `retry_type` says `in_process`: no worker would ever pick the run up (measured on 3.8.8). */
  readonly replaceRetryType: boolean
  /** Which of the new attempts that we may cause this is, and how many there can be. */
  readonly attempt: number
  readonly maxAttempts: number
}

export interface Crash extends Move {
  readonly kind: 'crash'
  /** Propose Failed after Crashed; never from a live state, where Prefect would park the run for ever. */
  readonly thenFail: boolean
  /** Suspend the Job first, so that it cannot start after the run was ended. */
  readonly suspend: boolean
}

export interface Cancel extends Move {
  readonly kind: 'cancel'
}

/** Say what is wrong, and what would be done; change nothing. */
export interface Report extends Grounds {
  readonly kind: 'report'
  readonly would: 'crash' | 'newAttempt' | 'cancel' | 'nothing'
  /** Where the facts may change without an event: when to look again. */
  readonly afterMs?: number
}

export type Verdict = Ask | Nothing | Requeue | NewAttempt | Crash | Cancel | Report

/** A rule that was asked, and what it said: `undefined` hands on to the next one. */
export interface TrailStep {
  readonly rule: string
  readonly answer?: string
}

/** The facts and rules behind a verdict. */
export interface Trail {
  /** Short sentences about the objects that were read: UIDs, resource versions, conditions, state id. */
  readonly facts: readonly string[]
  /** The rule that named the diagnosis. */
  readonly diagnosis: string
  readonly rules: readonly TrailStep[]
}

export interface Decision {
  readonly verdict: Verdict
  readonly trail: Trail
}
