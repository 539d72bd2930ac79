import type { Operation } from 'fast-json-patch'
import { FINALIZER_FREE_ANNOTATION, FLOW_RUN_ID_LABEL, PARENT_TASK_RUN_ID_LABEL } from '../core/names.ts'
import type { Parent } from '../core/parent.ts'
import type { AdmittedObject, Metadata } from './review.ts'

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
  const own = lacksLabel(object.metadata) ? metadataAdditions('/metadata', object.metadata, labels) : []
  if (!templateLacksLabel(object)) return own
  return [...own, ...metadataAdditions('/spec/template/metadata', object.template?.metadata, labels)]
}

type Strings = Readonly<Record<string, string>>

const ANNOTATIONS: Strings = { [FINALIZER_FREE_ANNOTATION]: 'true' }

/**
 * Written down, not found by comparing documents: that takes five times as long, and knows no more. RFC 6902's `add`
 * also replaces, where an annotation of ours says something else.
 */
function metadataAdditions(path: string, metadata: Metadata | undefined, labels: Strings): Operation[] {
  if (metadata === undefined) return [{ op: 'add', path, value: { labels, annotations: ANNOTATIONS } }]
  return [
    ...additions(`${path}/labels`, metadata.labels, labels),
    ...additions(`${path}/annotations`, metadata.annotations, ANNOTATIONS),
  ]
}

const additions = (path: string, present: Strings | undefined, ours: Strings): Operation[] =>
  present === undefined
    ? [{ op: 'add', path, value: ours }]
    : Object.entries(ours)
        .filter(([key, value]) => present[key] !== value)
        .map(([key, value]) => ({ op: 'add', path: `${path}/${escaped(key)}`, value }))

/** Our keys have a slash, and no tilde. Source: RFC 6901. */
const escaped = (key: string): string => key.replace('/', '~1')

const lacksLabel = (metadata: Metadata | undefined): boolean =>
  metadata?.labels?.[PARENT_TASK_RUN_ID_LABEL] === undefined

/** A template that names another flow run is left alone: this run's parent would be an untruth on its pods. */
function templateLacksLabel({ metadata, template }: AdmittedObject): boolean {
  if (template === undefined || !lacksLabel(template.metadata)) return false
  const flowRunId = template.metadata?.labels?.[FLOW_RUN_ID_LABEL]
  return flowRunId === undefined || flowRunId === metadata.labels?.[FLOW_RUN_ID_LABEL]
}
