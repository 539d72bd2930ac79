import type { Access } from './http/access.ts'
import { isConflict, isNotFound, isOtherUid } from './http/errors.ts'
import { collectionPath, objectPath, type Place, type Resource } from './paths.ts'

/** The name under which our fields are kept apart from everybody else's in `managedFields`. */
const FIELD_MANAGER = 'prefect-lifeguard'

/**
 * How a patch went. 404 and 409 are answers: `gone`, there is no such object (or another one by that name);
 * `conflict`, somebody else changed it since it was read, or owns the field.
 */
export type Patched = 'applied' | 'gone' | 'conflict'

/** Kubernetes' ways to patch. A strategic merge merges lists by their keys; an apply sets all fields of its manager. */
const PATCH_TYPES = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
} as const

export interface Patch {
  readonly type: keyof typeof PATCH_TYPES
  readonly body: object
  /** Of an apply: take fields over from other managers. */
  readonly force?: boolean
}

/** Single objects of any kind, as JSON; what cannot be found out throws a KubernetesError. */
export interface Objects {
  /** `undefined` when there is none. */
  readonly read: <T>(at: At, parse: (json: unknown) => T, signal: AbortSignal) => Promise<T | undefined>
  /** `false` when there is one by that name already. */
  readonly create: (at: Omit<At, 'name'>, body: object, signal: AbortSignal) => Promise<boolean>
  /** PUT; give the resourceVersion that was read. `false` when it has changed or gone since. */
  readonly replace: (at: At, body: object, signal: AbortSignal) => Promise<boolean>
  readonly patch: (at: At, patch: Patch, signal: AbortSignal) => Promise<Patched>
  /** `false` when there was none. */
  readonly remove: (at: At, signal: AbortSignal) => Promise<boolean>
}

export interface At extends Place {
  readonly resource: Resource
}

const isTooLate = (error: unknown): boolean => isConflict(error) || isNotFound(error)

const ignore = (): void => {}

export function createObjects(access: Pick<Access, 'request'>): Objects {
  return {
    read: async (at, parse, signal) =>
      access.request({ method: 'GET', path: pathOf(at), signal, parse }).catch(undefinedWhen(isNotFound)),
    create: async (at, body, signal) => {
      const path = collectionPath(at.resource, at.namespace)
      return trueUnless(isConflict, access.request({ method: 'POST', path, body, signal, parse: ignore }))
    },
    replace: async (at, body, signal) => {
      return trueUnless(
        isTooLate,
        access.request({ method: 'PUT', path: pathOf(at), body, signal, parse: ignore }),
      )
    },
    patch: async (at, { type, body, force }, signal) => {
      const request = access.request({
        method: 'PATCH',
        path: pathOf(at),
        query: { fieldManager: FIELD_MANAGER, force },
        contentType: PATCH_TYPES[type],
        body,
        signal,
        // A patch says what is to be, not what is to be done: a second one changes nothing more.
        attempts: 3,
        parse: ignore,
      })
      return request.then(() => 'applied' as const, patchAnswer)
    },
    remove: async (at, signal) =>
      trueUnless(
        isNotFound,
        access.request({ method: 'DELETE', path: pathOf(at), signal, attempts: 3, parse: ignore }),
      ),
  }
}

const pathOf = (at: At): string => objectPath(at.resource, at)

function undefinedWhen(isAnswer: (error: unknown) => boolean): (error: unknown) => undefined {
  return error => {
    if (isAnswer(error)) return undefined
    throw error
  }
}

async function trueUnless(isAnswer: (error: unknown) => boolean, request: Promise<void>): Promise<boolean> {
  return request.then(
    () => true,
    (error: unknown) => {
      if (isAnswer(error)) return false
      throw error
    },
  )
}

function patchAnswer(error: unknown): Patched {
  if (isNotFound(error) || isOtherUid(error)) return 'gone'
  if (isConflict(error)) return 'conflict'
  throw error
}
