import { FLOW_RUN_ID_LABEL, isUuid } from '../core/names.ts'
import { answerCanary } from './canary.ts'
import { invalidFlowRunId, pass, withoutPrefect } from './decision.ts'
import type { Decision } from './decision.ts'
import type { LookUp, LookedUp } from './look-up.ts'
import { lacksParent, parentPatch } from './mutate.ts'
import type { AdmittedObject, Review } from './review.ts'
import { claimsParent, findingsOnCreate, findingsOnUpdate, verdict } from './validate.ts'
import type { ValidationMode } from './validate.ts'

/** What a webhook does with one review: gather what Prefect says, where it has to be asked, then decide. */
export type Decide = (review: Review) => Decision | Promise<Decision>

/** `/mutate`: the parent label for new Jobs and pods. */
export function createMutation(lookUp: LookUp): Decide {
  return ({ kind, operation, object }) => {
    if (operation !== 'CREATE' || object === undefined) return pass('not_ours')
    return kind === 'Lease' ? answerCanary(object) : mutate(object, lookUp)
  }
}

/** Asks Prefect only where the label is missing. */
async function mutate(object: AdmittedObject, lookUp: LookUp): Promise<Decision> {
  const flowRunId = flowRunIdOf(object)
  if (flowRunId === undefined) return pass('not_ours')
  if (!isUuid(flowRunId)) return invalidFlowRunId(flowRunId)
  if (!lacksParent(object)) return pass('unchanged')
  const lookedUp = await lookUp(flowRunId)
  return lookedUp.kind === 'answered' ? mutation(object, lookedUp) : withoutPrefect(flowRunId, lookedUp)
}

function mutation(object: AdmittedObject, { parent }: Extract<LookedUp, { kind: 'answered' }>): Decision {
  switch (parent.kind) {
    case 'topLevel':
      return pass('top_level')
    case 'notFound':
      return { outcome: 'not_found', audit: 'not_found' }
    case 'subflow':
      return { outcome: 'labelled', patch: parentPatch(object, parent) }
  }
}

export interface ValidationDeps {
  readonly lookUp: LookUp
  readonly mode: ValidationMode
  /** Who may change label and annotation: the observer's backfill does. */
  readonly ownUsername: string | undefined
}

const VALIDATED: ReadonlySet<Review['kind']> = new Set(['Job', 'Pod'])

/** `/validate`: label and annotation are true when they appear and stay afterwards; no finalizer of Prefect's. */
export function createValidation({ lookUp, mode, ownUsername }: ValidationDeps): Decide {
  return review => {
    if (mode === 'off' || !VALIDATED.has(review.kind)) return pass('not_ours')
    const { object, oldObject, username } = review
    if (object === undefined || username === ownUsername) return pass('not_ours')
    if (review.operation === 'CREATE') return validateCreate(object, { lookUp, mode })
    if (oldObject === undefined) return pass('not_ours')
    return verdict(findingsOnUpdate({ object, oldObject, username }), mode)
  }
}

async function validateCreate(
  object: AdmittedObject,
  { lookUp, mode }: Pick<ValidationDeps, 'lookUp' | 'mode'>,
): Promise<Decision> {
  const flowRunId = flowRunIdOf(object)
  if (!isUuid(flowRunId) || !claimsParent(object)) return verdict(findingsOnCreate(object, undefined), mode)
  const lookedUp = await lookUp(flowRunId)
  if (lookedUp.kind === 'answered') return verdict(findingsOnCreate(object, lookedUp.parent), mode)
  const decision = verdict(findingsOnCreate(object, undefined), mode)
  return decision.outcome === 'valid' ? withoutPrefect(flowRunId, lookedUp) : decision
}

const flowRunIdOf = ({ metadata }: AdmittedObject): string | undefined => metadata.labels?.[FLOW_RUN_ID_LABEL]
