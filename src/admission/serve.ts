import type { FastifyRequest } from 'fastify'
import type { Logger } from 'pino'
import { FLOW_RUN_ID_LABEL } from '../core/names.ts'
import type { Decide } from './decide.ts'
import { passWithWarning } from './decision.ts'
import type { Decision, Outcome } from './decision.ts'
import type { AdmissionMetrics } from './metrics.ts'
import { answerOf } from './response.ts'
import type { AnsweredReview } from './response.ts'
import { parseReview } from './review.ts'
import type { Review } from './review.ts'

export interface ServeDeps {
  /** The path, for metrics and logs. */
  readonly webhook: string
  readonly decide: Decide
  readonly metrics: AdmissionMetrics
  /** Reviews of this webhook under way at once. */
  readonly maxConcurrent: number
  readonly logger: Logger
}

/**
 * The handler of one webhook: a review in, its answer out. Throws only for a malformed review; whatever else goes
 * wrong lets the object pass.
 * Beyond `maxConcurrent` a review passes at once: a queue would only carry everybody beyond the apiserver's time-out.
 * A dry run needs no other way: nothing here has side effects.
 */
export function createServe({ webhook, decide, metrics, maxConcurrent, logger }: ServeDeps) {
  const log = createLog(webhook, logger)
  let underWay = 0
  metrics.watchInFlight(webhook, () => underWay)
  const decideSafely = async (review: Review): Promise<Decision> => {
    if (underWay >= maxConcurrent) return OVERLOADED
    underWay += 1
    try {
      return await decide(review)
    } catch (error) {
      metrics.panicked()
      return { ...DEFECT, error }
    } finally {
      underWay -= 1
    }
  }
  return async (request: FastifyRequest): Promise<AnsweredReview> => {
    const review = parseReview(request.body)
    const decision = await decideSafely(review)
    metrics.decided(review.kind, decision.outcome)
    log(review, decision)
    return answerOf(review.uid, decision)
  }
}

const OVERLOADED = passWithWarning(
  'overloaded',
  'too many admission requests at once: checked and labelled later',
)

const DEFECT = passWithWarning('error', 'internal error, see its log: checked and labelled later')

/** Outcomes somebody may want to act upon, or to see. What passes by without a word is for debugging. */
const LEVELS: Readonly<Partial<Record<Outcome, 'info' | 'warn' | 'error'>>> = {
  labelled: 'info',
  invalid_flow_run_id: 'warn',
  lookup_late: 'warn',
  lookup_failed: 'warn',
  warned: 'warn',
  denied: 'warn',
  overloaded: 'warn',
  error: 'error',
}

/**
 * Only an error can bring something along that must not be seen; every other field is a short text of ours or of the
 * review. To look through those for secrets, too, would take as long as all the rest of a review (10 µs).
 */
function createLog(webhook: string, logger: Logger) {
  const plainly = logger.child({}, { redact: [] })
  return (review: Review, { outcome, warnings, denial, error }: Decision): void => {
    const { uid, kind, operation, namespace, name, dryRun } = review
    const flowRunId = review.object?.metadata.labels?.[FLOW_RUN_ID_LABEL]?.slice(0, UUID_LENGTH)
    const fields = {
      webhook,
      uid,
      kind,
      operation,
      namespace,
      name,
      dryRun,
      outcome,
      warnings,
      denial,
      flowRunId,
    }
    const level = LEVELS[outcome] ?? 'debug'
    if (error === undefined) plainly[level](fields, 'reviewed')
    else logger[level]({ ...fields, err: error }, 'reviewed')
  }
}

/** Cut to what a real one takes: the value is not validated yet and may be of any length. */
const UUID_LENGTH = 36
