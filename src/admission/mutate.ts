import jsonPatch from 'fast-json-patch'
import type { Operation } from 'fast-json-patch'
import { FINALIZER_FREE_ANNOTATION, FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL } from '../core/names.ts'
import type { Parent } from '../core/parent.ts'
import type { AdmittedObject, Metadata } from './review.ts'

/**
 * The parts of a document a patch may touch. Only these are compared, never whole objects: the patch cannot contain
 * anything else, and the comparison costs a few labels instead of a pod.
 */
interface Touched {
  readonly metadata: LabelsAndAnnotations
  readonly spec?: { readonly template: { readonly metadata?: LabelsAndAnnotations } }
}

type LabelsAndAnnotations = Partial<Pick<Metadata, 'labels' | 'annotations'>>

/** Whether some part of the object still wants the parent label, so that Prefect has to be asked. */
export const lacksParent = (object: AdmittedObject): boolean =>
  lacksLabel(object.metadata) || templateLacksLabel(object)

/**
 * The JSON patch that gives an object its parent label and the annotation beside it.
 * Jobs get both on the pod template too, so that every pod of every retry inherits them. Empty for a run without a
 * parent, and where the label is there already: what it says is for validation to judge.
 */
export function parentPatch(object: AdmittedObject, parent: Parent): readonly Operation[] {
  if (parent.kind !== 'subflow') return []
  const { parentTaskRunId } = parent
  const before = touched(object, metadata => metadata)
  const after = touched(object, metadata =>
    lacksLabel(metadata) ? withParent(metadata, parentTaskRunId) : metadata,
  )
  return jsonPatch.compare(before, after)
}

type Change = <M extends Metadata | undefined>(metadata: M) => Metadata | M

function touched(object: AdmittedObject, change: Change): Touched {
  const metadata = labelsAndAnnotations(change(object.metadata))
  if (!templateLacksLabel(object)) return { metadata }
  const template = change(object.template?.metadata)
  return {
    metadata,
    spec: { template: template === undefined ? {} : { metadata: labelsAndAnnotations(template) } },
  }
}

/** `compare` reads a key that is there but undefined as a value: absent keys have to be absent. */
const labelsAndAnnotations = ({ labels, annotations }: Metadata): LabelsAndAnnotations => ({
  ...(labels && { labels }),
  ...(annotations && { annotations }),
})

const withParent = (metadata: Metadata | undefined, parentTaskRunId: string): Metadata => ({
  labels: { ...metadata?.labels, [PARENT_TASK_RUN_ID_LABEL]: parentTaskRunId },
  annotations: { ...metadata?.annotations, [FINALIZER_FREE_ANNOTATION]: 'true' },
  finalizers: [],
})

const lacksLabel = (metadata: Metadata | undefined): boolean =>
  metadata?.labels?.[PARENT_TASK_RUN_ID_LABEL] === undefined

/** A template that names another flow run is left alone: this run's parent would be an untruth on its pods. */
function templateLacksLabel({ metadata, template }: AdmittedObject): boolean {
  if (template === undefined || !lacksLabel(template.metadata)) return false
  const flowRunId = template.metadata?.labels?.[FLOW_RUN_ID_LABEL]
  return flowRunId === undefined || flowRunId === metadata.labels?.[FLOW_RUN_ID_LABEL]
}
