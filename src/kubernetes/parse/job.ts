import type { Job } from '../../core/objects.ts'
import {
  count,
  optionalInstant,
  optionalNumber,
  optionalString,
  present,
  recordOrEmpty,
  type Fields,
} from './fields.ts'
import { conditionsOf, named, parseMetadata } from './metadata.ts'

/** A `batch/v1` Job without its pod template, which is most of it. */
export const parseJob: (json: unknown) => Job = named('Job', fields => ({
  metadata: parseMetadata(fields['metadata']),
  spec: specOf(recordOrEmpty(fields['spec'], 'spec')),
  status: statusOf(recordOrEmpty(fields['status'], 'status')),
}))

const specOf = (spec: Fields): Job['spec'] => ({
  ...present('backoffLimit', optionalNumber(spec['backoffLimit'])),
  ...present('backoffLimitPerIndex', optionalNumber(spec['backoffLimitPerIndex'])),
  ...present('completions', optionalNumber(spec['completions'])),
  ...present('parallelism', optionalNumber(spec['parallelism'])),
  ...present('completionMode', optionalString(spec['completionMode'])),
  suspend: spec['suspend'] === true,
  ...present('activeDeadlineSeconds', optionalNumber(spec['activeDeadlineSeconds'])),
  ...present('managedBy', optionalString(spec['managedBy'])),
})

const statusOf = (status: Fields): Job['status'] => ({
  active: count(status['active'], 'status.active'),
  succeeded: count(status['succeeded'], 'status.succeeded'),
  failed: count(status['failed'], 'status.failed'),
  terminating: count(status['terminating'], 'status.terminating'),
  ...present('startTime', optionalInstant(status['startTime'], 'status.startTime')),
  ...present('completionTime', optionalInstant(status['completionTime'], 'status.completionTime')),
  conditions: conditionsOf(status['conditions']),
})
