import type { Operation } from 'fast-json-patch'
import { FLOW_RUN_ID_LABEL } from '../core/names.ts'
import type { LookedUp } from './look-up.ts'

/** How a review ended; the values of the label `outcome` of `lifeguard_admission_outcomes_total`. */
export type Outcome =
  /** Mutation: the parent label was added. */
  | 'labelled'
  /** Mutation: the parent label was there already. */
  | 'unchanged'
  /** Mutation: the run has no parent. */
  | 'top_level'
  /** Our own probe. */
  | 'canary'
  /** Prefect knows no such run. */
  | 'not_found'
  /** The label flow-run-id is no UUID. */
  | 'invalid_flow_run_id'
  /** Prefect did not answer by the deadline. */
  | 'lookup_late'
  /** Prefect could not be reached, or answered nonsense. */
  | 'lookup_failed'
  /** Validation: nothing to object to. */
  | 'valid'
  /** Validation: something to object to, mode `warn`. */
  | 'warned'
  /** Validation: something to object to, mode `enforce`. */
  | 'denied'
  /** Another kind, subresource or operation than ours, no flow run, or validation is off. */
  | 'not_ours'
  /** More reviews under way than allowed at once. */
  | 'overloaded'
  /** A defect of ours. */
  | 'error'

/** What to answer. Everything passes unless `denial` says why not. */
export interface Decision {
  readonly outcome: Outcome
  readonly patch?: readonly Operation[]
  /** Shown to whoever sent the request; the API asks for at most 256 characters each. */
  readonly warnings?: readonly string[]
  /** Goes to the apiserver's audit log as `<webhook name>/outcome`. */
  readonly audit?: string
  readonly denial?: string
  /** For our log alone. */
  readonly error?: unknown
}

/** Passes unchanged, without a word. */
export const pass = (outcome: Outcome): Decision => ({ outcome })

/** Passes although we could not do our part; says so to the client, the audit log and the metrics. */
export const passWithWarning = (outcome: Outcome, warning: string): Decision => ({
  outcome,
  warnings: [`prefect-lifeguard: ${warning}`],
  audit: outcome,
})

/** The label is Prefect's own: a value that is no UUID never came from a Prefect worker. */
export const invalidFlowRunId = (value: string): Decision =>
  passWithWarning(
    'invalid_flow_run_id',
    `label ${FLOW_RUN_ID_LABEL} is ${quoted(value)}, not a flow run's UUID: correct or remove the label`,
  )

/** Prefect could not be asked in time. Nobody is held up for that: the observer labels and checks later. */
export function withoutPrefect(
  flowRunId: string,
  lookedUp: Exclude<LookedUp, { kind: 'answered' }>,
): Decision {
  if (lookedUp.kind === 'late') {
    const after = `did not answer within ${lookedUp.deadlineMs} ms`
    return passWithWarning(
      'lookup_late',
      `Prefect ${after} on flow run ${flowRunId}: checked and labelled later`,
    )
  }
  const warning = `could not ask Prefect about flow run ${flowRunId}: checked and labelled later`
  return { ...passWithWarning('lookup_failed', warning), error: lookedUp.error }
}

/**
 * A value out of an object, fit for a warning or a log line: quoted, and no longer than a label value may be.
 * Mutation runs before the apiserver validates, so a value may be anything.
 */
export const quoted = (value: string | undefined): string =>
  value === undefined ? 'absent' : JSON.stringify(value.slice(0, LABEL_VALUE_LENGTH))

/** Source: kubernetes/apimachinery `validation.LabelValueMaxLength`. */
const LABEL_VALUE_LENGTH = 63
