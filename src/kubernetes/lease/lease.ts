import type { Access } from '../http/access.ts'
import { isConflict, isNotFound } from '../http/errors.ts'
import { optionalNumber, optionalString, record, recordOrEmpty, type Fields } from '../parse/fields.ts'
import { collectionPath, LEASES, objectPath, type Place } from '../paths.ts'

/** What a Lease says. Its times are other machines' wall clocks: they are written for people, and never compared. */
export interface LeaseRecord {
  /** Empty: nobody holds it. */
  readonly holder: string
  readonly durationSeconds: number
  readonly acquireTime: string | undefined
  readonly renewTime: string | undefined
  readonly transitions: number
}

export interface StoredLease {
  /** With the resource version, and what others have put there. */
  readonly metadata: Fields
  readonly record: LeaseRecord
}

/** Reading and writing one Lease; a write answers `undefined` when somebody else was faster. */
export interface LeaseStore {
  readonly read: (signal: AbortSignal) => Promise<StoredLease | undefined>
  readonly create: (record: LeaseRecord, signal: AbortSignal) => Promise<StoredLease | undefined>
  readonly replace: (
    record: LeaseRecord,
    stored: StoredLease,
    signal: AbortSignal,
  ) => Promise<StoredLease | undefined>
}

/** `timeoutMs` is for each request: one that gets no answer in time also costs its connection, which may be dead. */
export function createLeaseStore(
  access: Pick<Access, 'request'>,
  place: Required<Place>,
  timeoutMs: number,
): LeaseStore {
  const path = objectPath(LEASES, place)
  const collection = collectionPath(LEASES, place.namespace)
  // The contender's own rhythm is the retry.
  const once = { attempts: 1, timeoutMs, parse: parseLease }
  return {
    read: async signal => access.request({ method: 'GET', path, signal, ...once }).catch(undefinedIfTooLate),
    create: async (lease, signal) => {
      const body = leaseObject(place, lease)
      return access
        .request({ method: 'POST', path: collection, body, signal, ...once })
        .catch(undefinedIfTooLate)
    },
    replace: async (lease, { metadata }, signal) => {
      const body = leaseObject(metadata, lease)
      return access.request({ method: 'PUT', path, body, signal, ...once }).catch(undefinedIfTooLate)
    },
  }
}

function undefinedIfTooLate(error: unknown): undefined {
  if (isConflict(error) || isNotFound(error)) return undefined
  throw error
}

const leaseObject = (metadata: object, lease: LeaseRecord): object => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata,
  spec: {
    holderIdentity: lease.holder,
    leaseDurationSeconds: lease.durationSeconds,
    acquireTime: lease.acquireTime,
    renewTime: lease.renewTime,
    leaseTransitions: lease.transitions,
  },
})

function parseLease(json: unknown): StoredLease {
  const fields = record(json, 'the Lease')
  const spec = recordOrEmpty(fields['spec'], 'spec')
  return {
    metadata: record(fields['metadata'], 'metadata'),
    record: {
      holder: optionalString(spec['holderIdentity']) ?? '',
      durationSeconds: optionalNumber(spec['leaseDurationSeconds']) ?? 0,
      acquireTime: optionalString(spec['acquireTime']),
      renewTime: optionalString(spec['renewTime']),
      transitions: optionalNumber(spec['leaseTransitions']) ?? 0,
    },
  }
}
