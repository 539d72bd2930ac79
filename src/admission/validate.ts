import {
  FINALIZER_FREE_ANNOTATION,
  FLOW_RUN_ID_LABEL,
  isUuid,
  PARENT_TASK_RUN_ID_LABEL,
} from '../core/names.ts'
import type { Parent } from '../core/parent.ts'
import { quoted } from './decision.ts'
import type { Decision } from './decision.ts'
import type { AdmittedObject, Metadata } from './review.ts'

/** `warn`: everything passes, with a warning. `enforce`: what is wrong is refused. `off`: nothing is looked at. */
export type ValidationMode = 'warn' | 'enforce' | 'off'

/** A sentence for whoever sent the request: what is wrong and what to do. */
type Finding = string

/** A finalizer under this prefix would hold up deletions in Prefect's name. */
const FINALIZER_PREFIX = 'prefect.io/'

/**
 * Whether an object that is being created says who its parent is, so that Prefect has to be asked for the truth.
 * Later it need not be asked again: a label that does not change stays true.
 */
export const claimsParent = (object: AdmittedObject): boolean =>
  partsOf(object).some(metadata => isUuid(parentLabel(metadata)))

/**
 * What is wrong with a Job or pod that is being created. `parent` is undefined where Prefect was not asked or did not
 * answer. A run Prefect does not know is nothing wrong: with a webhook pointed at the wrong workspace that is every
 * run, and a Job labelled before would get no more pods.
 */
export const findingsOnCreate = (object: AdmittedObject, parent: Parent | undefined): readonly Finding[] => [
  ...labelIsNoUuid(object),
  ...labelWithoutRun(object),
  ...templateOfAnotherRun(object),
  ...labelIsUntrue(object, parent),
  ...annotationIsNotTrue(object),
  ...newFinalizers(object),
]

/** What is wrong with an update of a Job or pod, `username` being who makes it. */
export const findingsOnUpdate = (update: {
  readonly object: AdmittedObject
  readonly oldObject: AdmittedObject
  readonly username: string
}): readonly Finding[] => [
  ...labelChanges(update),
  ...annotationChanges(update),
  ...runChanges(update),
  ...newFinalizers(update.object, update.oldObject),
]

/** What the findings lead to in a mode. */
export function verdict(findings: readonly Finding[], mode: ValidationMode): Decision {
  if (findings.length === 0 || mode === 'off') return { outcome: 'valid' }
  const warnings = findings.map(finding => `prefect-lifeguard: ${finding}`)
  if (mode === 'enforce') return { outcome: 'denied', denial: warnings.join('; '), audit: 'denied' }
  return { outcome: 'warned', warnings, audit: 'warned' }
}

function labelIsNoUuid(object: AdmittedObject): readonly Finding[] {
  const malformed = partsOf(object)
    .map(parentLabel)
    .filter(label => label !== undefined && !isUuid(label))
  return unique(malformed).map(
    label =>
      `label ${PARENT_TASK_RUN_ID_LABEL} is ${quoted(label)}, not a UUID: remove it, it is set for you`,
  )
}

function labelWithoutRun({ metadata }: AdmittedObject): readonly Finding[] {
  if (parentLabel(metadata) === undefined || flowRunId(metadata) !== undefined) return []
  return [
    `label ${PARENT_TASK_RUN_ID_LABEL} without ${FLOW_RUN_ID_LABEL}: remove it, it belongs to no flow run`,
  ]
}

/** Prefect's worker writes the same id on both. One that differs makes pods that count for another run. */
function templateOfAnotherRun({ metadata, template }: AdmittedObject): readonly Finding[] {
  const ofTemplate = template?.metadata && flowRunId(template.metadata)
  if (ofTemplate === undefined || ofTemplate === flowRunId(metadata)) return []
  const [theirs, ours] = [quoted(ofTemplate), quoted(flowRunId(metadata))]
  return [
    `label ${FLOW_RUN_ID_LABEL} is ${theirs} on the pod template and ${ours} on the Job: make them the same`,
  ]
}

function labelIsUntrue(object: AdmittedObject, parent: Parent | undefined): readonly Finding[] {
  if (parent === undefined || parent.kind === 'notFound') return []
  const truth = parent.kind === 'subflow' ? parent.parentTaskRunId : undefined
  const claims = partsOf(object).map(parentLabel).filter(isUuid)
  const prefect = truth === undefined ? 'the run has no parent' : `it is ${truth}`
  return unique(claims.filter(claim => claim !== truth)).map(
    claim =>
      `label ${PARENT_TASK_RUN_ID_LABEL} is ${claim}, but in Prefect ${prefect}: remove it, it is set for you`,
  )
}

function annotationIsNotTrue(object: AdmittedObject): readonly Finding[] {
  const values = partsOf(object)
    .map(finalizerFree)
    .filter(value => value !== undefined && value !== 'true')
  return unique(values).map(
    value =>
      `annotation ${FINALIZER_FREE_ANNOTATION} is ${quoted(value)}, not "true": remove it, it is set for you`,
  )
}

/** Only finalizers that are new: one that is there must not stop the update that takes it away. */
function newFinalizers(object: AdmittedObject, oldObject?: AdmittedObject): readonly Finding[] {
  const before = new Set(oldObject && finalizersOf(oldObject))
  const added = finalizersOf(object).filter(name => name.startsWith(FINALIZER_PREFIX) && !before.has(name))
  return unique(added).map(
    name => `finalizer ${quoted(name)} holds up the deletion of this object: leave it out`,
  )
}

interface Update {
  readonly object: AdmittedObject
  readonly oldObject: AdmittedObject
  readonly username: string
}

function labelChanges(update: Update): readonly Finding[] {
  const change = changeOf(update, parentLabel)
  if (change === undefined) return []
  return [`label ${PARENT_TASK_RUN_ID_LABEL} ${change}: leave it, only prefect-lifeguard sets it`]
}

function annotationChanges(update: Update): readonly Finding[] {
  const change = changeOf(update, finalizerFree)
  if (change === undefined) return []
  return [`annotation ${FINALIZER_FREE_ANNOTATION} ${change}: leave it, only prefect-lifeguard sets it`]
}

/** With another run the parent label would no longer be Prefect's truth. */
function runChanges(update: Update): readonly Finding[] {
  const change = changeOf(update, flowRunId)
  if (change === undefined || parentLabel(update.object.metadata) === undefined) return []
  return [`label ${FLOW_RUN_ID_LABEL} ${change}: leave it, an object belongs to one flow run for life`]
}

/** A Job's pod template cannot be changed once it exists, so only the object's own metadata is looked at. */
function changeOf({ object, oldObject, username }: Update, read: Read): string | undefined {
  const [was, is] = [read(oldObject.metadata), read(object.metadata)]
  return was === is ? undefined : `goes from ${quoted(was)} to ${quoted(is)} by ${quoted(username)}`
}

type Read = (metadata: Metadata) => string | undefined

const parentLabel: Read = metadata => metadata.labels?.[PARENT_TASK_RUN_ID_LABEL]
const flowRunId: Read = metadata => metadata.labels?.[FLOW_RUN_ID_LABEL]
const finalizerFree: Read = metadata => metadata.annotations?.[FINALIZER_FREE_ANNOTATION]

/** The metadata of an object and, for a Job, of its pod template. */
const partsOf = ({ metadata, template }: AdmittedObject): readonly Metadata[] =>
  template?.metadata === undefined ? [metadata] : [metadata, template.metadata]

const finalizersOf = (object: AdmittedObject): readonly string[] =>
  partsOf(object).flatMap(({ finalizers }) => finalizers)

const unique = <T>(values: readonly T[]): readonly T[] => [...new Set(values)]
