import jsonPatch from 'fast-json-patch'
import type { Operation } from 'fast-json-patch'
import { FINALIZER_FREE_ANNOTATION, FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL } from '../core/names.ts'
import type { Parent } from '../core/parent.ts'
import type { AdmittedObject, Metadata } from './review.ts'

/** Our labels and annotations in the maps they are in. A map the object does not have is absent here. */
type OurKeys = Partial<Record<'labels' | 'annotations', Strings>>

type Strings = Readonly<Record<string, string | undefined>>

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
  const flowRunId = object.metadata.labels?.[FLOW_RUN_ID_LABEL]
  const labels = {
    ...(flowRunId !== undefined && { [FLOW_RUN_ID_LABEL]: flowRunId }),
    [PARENT_TASK_RUN_ID_LABEL]: parent.parentTaskRunId,
  }
  const ours = { labels, annotations: { [FINALIZER_FREE_ANNOTATION]: 'true' } }
  const template = object.template?.metadata
  const before = partsOf(object, presentOf(object.metadata, ours), template && presentOf(template, ours))
  return jsonPatch.compare(before, partsOf(object, ours, ours))
}

/**
 * Only these parts are compared, never whole objects: the patch cannot contain anything else, and costs the same for
 * every pod.
 */
const partsOf = (object: AdmittedObject, metadata: OurKeys, ofTemplate: OurKeys | undefined): Parts => ({
  ...(lacksLabel(object.metadata) && { metadata }),
  ...(templateLacksLabel(object) && { spec: { template: { ...(ofTemplate && { metadata: ofTemplate }) } } }),
})

/** What the object has of our keys, whatever it says there. */
const presentOf = ({ labels, annotations }: Metadata, ours: Required<OurKeys>): OurKeys => ({
  ...(labels && { labels: picked(labels, ours.labels) }),
  ...(annotations && { annotations: picked(annotations, ours.annotations) }),
})

const picked = (present: Strings, ours: Strings): Strings =>
  Object.fromEntries(
    Object.keys(ours)
      .filter(key => Object.hasOwn(present, key))
      .map(key => [key, present[key]]),
  )

const lacksLabel = (metadata: Metadata | undefined): boolean =>
  metadata?.labels?.[PARENT_TASK_RUN_ID_LABEL] === undefined

/** A template that names another flow run is left alone: this run's parent would be an untruth on its pods. */
function templateLacksLabel({ metadata, template }: AdmittedObject): boolean {
  if (template === undefined || !lacksLabel(template.metadata)) return false
  const flowRunId = template.metadata?.labels?.[FLOW_RUN_ID_LABEL]
  return flowRunId === undefined || flowRunId === metadata.labels?.[FLOW_RUN_ID_LABEL]
}
