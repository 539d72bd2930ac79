import type { Meta } from '../parse/metadata.ts'

/** Something happened to an object. Objects are never changed in place: `old` stays as it was. */
export interface Change<T> {
  readonly type: 'added' | 'modified' | 'deleted'
  /** As it is now; of a deleted one, as it was last seen. */
  readonly object: T
  readonly old?: T
  /** The deletion was not seen, only that a list lacks the object: it may have changed before it went. */
  readonly finalStateUnknown?: true
  /**
   * Deleted without a deletionTimestamp: it was removed at once (a Job deleted in the background), or it lives on
   * and only its labels no longer match. The watch cannot tell; a GET can.
   */
  readonly leftSelector?: true
}

/** The objects of one watch by UID: a name may come back as another object, a UID does not. */
export interface Store<T> {
  readonly get: (uid: string) => T | undefined
  readonly byIndex: (key: string) => readonly T[]
  readonly list: () => Iterable<T>
  readonly size: () => number
  /** A change the watch brought; `undefined` when it brings nothing new (the same resource version again). */
  readonly apply: (type: 'ADDED' | 'MODIFIED' | 'DELETED', object: T) => Change<T> | undefined
  /** An object that a list lacks: its deletion was not seen. */
  readonly lose: (object: T) => Change<T>
}

export function createStore<T extends Meta>(indexOf: (object: T) => string | undefined): Store<T> {
  const objects = new Map<string, T>()
  const index = createIndex(indexOf)
  const put = (object: T): Change<T> | undefined => {
    const old = objects.get(object.metadata.uid)
    if (old?.metadata.resourceVersion === object.metadata.resourceVersion) return undefined
    objects.set(object.metadata.uid, object)
    if (old) index.remove(old)
    index.add(object)
    return old ? { type: 'modified', object, old } : { type: 'added', object }
  }
  const remove = (object: T): T | undefined => {
    const old = objects.get(object.metadata.uid)
    objects.delete(object.metadata.uid)
    if (old) index.remove(old)
    return old
  }
  return {
    get: uid => objects.get(uid),
    byIndex: index.of,
    list: () => objects.values(),
    size: () => objects.size,
    apply: (type, object) => (type === 'DELETED' ? deleted(object, remove(object)) : put(object)),
    lose: object => {
      remove(object)
      return { type: 'deleted', object, old: object, finalStateUnknown: true }
    },
  }
}

function deleted<T extends Meta>(object: T, old: T | undefined): Change<T> {
  return {
    type: 'deleted',
    object,
    ...(old && { old }),
    ...(object.metadata.deletionTimestamp === undefined && { leftSelector: true }),
  }
}

interface Index<T> {
  readonly add: (object: T) => void
  readonly remove: (object: T) => void
  readonly of: (key: string) => readonly T[]
}

/** Objects by a key of theirs; a key without objects is forgotten. */
function createIndex<T extends Meta>(keyOf: (object: T) => string | undefined): Index<T> {
  const byKey = new Map<string, Map<string, T>>()
  return {
    add: object => {
      const key = keyOf(object)
      if (key === undefined) return
      const entries = byKey.get(key) ?? new Map<string, T>()
      byKey.set(key, entries.set(object.metadata.uid, object))
    },
    remove: object => {
      const key = keyOf(object)
      if (key === undefined) return
      byKey.get(key)?.delete(object.metadata.uid)
      if (byKey.get(key)?.size === 0) byKey.delete(key)
    },
    of: key => [...(byKey.get(key)?.values() ?? [])],
  }
}
