import type { KubernetesEvent } from '../../core/objects.ts'
import {
  optionalInstant,
  optionalNumber,
  optionalString,
  present,
  record,
  recordOrEmpty,
  string,
  type Fields,
} from './fields.ts'
import { named } from './metadata.ts'

/**
 * An Event as `v1` or as `events.k8s.io/v1` writes it. Both are views of one stored object, so each field has two
 * names; those who count by `series` leave the older counter at 0 or absent.
 */
export const parseEvent: (json: unknown) => KubernetesEvent = named('Event', fields => {
  const series = recordOrEmpty(fields['series'], 'series')
  return {
    type: optionalString(fields['type']) ?? 'Normal',
    reason: optionalString(fields['reason']) ?? '',
    message: optionalString(fields['message'] ?? fields['note']) ?? '',
    regarding: regardingOf(record(fields['involvedObject'] ?? fields['regarding'], 'involvedObject')),
    count: countOf(fields, series),
    ...present('firstSeen', firstSeenOf(fields)),
    ...present('lastSeen', lastSeenOf(fields, series)),
  }
})

const regardingOf = (fields: Fields): KubernetesEvent['regarding'] => ({
  kind: string(fields['kind'], 'involvedObject.kind'),
  name: string(fields['name'], 'involvedObject.name'),
  uid: optionalString(fields['uid']) ?? '',
})

const countOf = (fields: Fields, series: Fields): number =>
  optionalNumber(series['count'] ?? fields['count'] ?? fields['deprecatedCount']) ?? 1

const firstSeenOf = (fields: Fields): number | undefined =>
  optionalInstant(
    fields['firstTimestamp'] ?? fields['deprecatedFirstTimestamp'] ?? fields['eventTime'],
    'firstTimestamp',
  )

function lastSeenOf(fields: Fields, series: Fields): number | undefined {
  const last = fields['lastTimestamp'] ?? fields['deprecatedLastTimestamp'] ?? fields['eventTime']
  return optionalInstant(series['lastObservedTime'] ?? last, 'lastTimestamp')
}
