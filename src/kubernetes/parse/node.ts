import type { Node } from '../../core/objects.ts'
import { isRecord, list, optionalInstant, present, record, recordOrEmpty, string } from './fields.ts'
import { conditionStatus, named } from './metadata.ts'

/** A `v1` Node: whether its kubelet still reports. A node that has said nothing yet is Unknown. */
export const parseNode: (json: unknown) => Node = named('Node', fields => {
  const metadata = record(fields['metadata'], 'metadata')
  const conditions = list(recordOrEmpty(fields['status'], 'status')['conditions'], 'status.conditions')
  const ready = conditions.find(condition => isRecord(condition) && condition['type'] === 'Ready')
  const { status, lastTransitionTime } = recordOrEmpty(ready, 'status.conditions[]')
  return {
    name: string(metadata['name'], 'metadata.name'),
    ready: ready === undefined ? 'Unknown' : conditionStatus(status),
    ...present('readySince', optionalInstant(lastTransitionTime, 'status.conditions[].lastTransitionTime')),
  }
})
