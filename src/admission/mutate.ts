import jsonPatch from 'fast-json-patch'
import type { Operation } from 'fast-json-patch'
import { FINALIZER_FREE_ANNOTATION, FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL } from '../core/names.ts'
import type { Parent } from '../core/parent.ts'
import type { AdmittedObject, Metadata } from './review.ts'

/** What we may add, in the maps it is in. A map the object does not have is absent here. */
type OurKeys = Partial<Record<'labels' | 'annotations', Readonly<Record<string, string>>>>

/** The parts of an object that lack the label, where they are in its document. */
interface Parts {
  readonly metadata?: OurKeys
  readonly spec?: { readonly template: { readonly metadata?: OurKeys } }
}

/** Whether some part of the object still wants the parent label, so that Prefect has to be asked. */
export const lacksParent = (object: AdmittedObject): boolean =>
  lacksLabel(object.metadata) || templateLacksLabel(object)

/**
 * The JSON patch that gives an object its parent label and the annotation beside it.
 * Jobs get both on the pod template too, so that every pod of every retry inherits them; and there the flow run's id,
 * by which a pod is known: workers before prefect-kubernetes 0.6.0 put it on the Job alone. Empty for a run without
 * a parent, and where the label is there already: what it says is for validation to judge.
 */
export function parentPatch(object: AdmittedObject, parent: Parent): readonly Operation[] {
  if (parent.kind !== 'subflow') return []
  const flowRunId = labelsWith(FLOW_RUN_ID_LABEL, object.metadata)
  const labels = { ...flowRunId, [PARENT_TASK_RUN_ID_LABEL]: parent.parentTaskRunId }
  const ours = { labels, annotations: { [FINALIZER_FREE_ANNOTATION]: 'true' } }
  const template = object.template?.metadata
  const before = partsOf(
    object,
    ourKeys(object.metadata),
    template === undefined ? {} : { metadata: ourKeys(template) },
  )
  return jsonPatch.compare(before, partsOf(object, ours, { metadata: ours }))
}

/**
 * Only these parts are compared, never whole objects: the patch cannot contain anything else, and costs the same for
 * every pod.
 */
const partsOf = (
  object: AdmittedObject,
  metadata: OurKeys,
  template: { readonly metadata?: OurKeys },
): Parts => ({
  ...(lacksLabel(object.metadata) && { metadata }),
  ...(templateLacksLabel(object) && { spec: { template } }),
})

/** The parent label is known to be missing. */
const ourKeys = (metadata: Metadata): OurKeys => ({
  ...(metadata.labels && { labels: labelsWith(FLOW_RUN_ID_LABEL, metadata) }),
  ...(metadata.annotations && { annotations: ourAnnotation(metadata.annotations) }),
})

/** The one label, where it is there. */
const labelsWith = (key: string, { labels }: Metadata): Readonly<Record<string, string>> => {
  const value = labels?.[key]
  return value === undefined ? {} : { [key]: value }
}

const ourAnnotation = ({ [FINALIZER_FREE_ANNOTATION]: value }: Readonly<Record<string, string>>) =>
  value === undefined ? {} : { [FINALIZER_FREE_ANNOTATION]: value }

const lacksLabel = (metadata: Metadata | undefined): boolean =>
  metadata?.labels?.[PARENT_TASK_RUN_ID_LABEL] === undefined

/** A template that names another flow run is left alone: this run's parent would be an untruth on its pods. */
function templateLacksLabel({ metadata, template }: AdmittedObject): boolean {
  if (template === undefined || !lacksLabel(template.metadata)) return false
  const flowRunId = template.metadata?.labels?.[FLOW_RUN_ID_LABEL]
  return flowRunId === undefined || flowRunId === metadata.labels?.[FLOW_RUN_ID_LABEL]
}
