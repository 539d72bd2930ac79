import type { Instant } from '../../core/objects.ts'
import type { Clock } from '../clock.ts'
import { isRecord, optionalString } from '../parse/fields.ts'
import type { WatchFigures, WatchMetrics } from './metrics.ts'
import type { Meta } from '../parse/metadata.ts'
import { inSlices } from './slices.ts'
import type { Change, Store } from './store.ts'
import type { WatchEvent } from './event.ts'

/** Something went wrong and was dealt with; for the log. */
export interface Trouble {
  readonly what: string
  readonly error: unknown
}

export interface FeedOptions<T extends Meta> {
  readonly store: Store<T>
  readonly parse: (json: unknown) => T
  readonly onChange: (change: Change<T>) => void
  readonly report: (trouble: Trouble) => void
  readonly metrics: Pick<WatchMetrics, 'failed'>
  readonly clock: Pick<Clock, 'now' | 'turn'>
  /** Once aborted, nothing is delivered any more. */
  readonly signal: AbortSignal
}

/** Takes in what lists and watches bring, in order, and delivers the changes. */
export interface Feed {
  /** Where a watch has to go on; absent until the first list is complete. */
  readonly resourceVersion: () => string | undefined
  readonly list: () => Listing
  /** Neither waits nor throws. */
  readonly apply: (event: Exclude<WatchEvent, { kind: 'error' }>) => void
  /** A watch was accepted, which proves that the server is there. */
  readonly alive: () => void
  readonly figures: () => Omit<WatchFigures, 'objects'> & { readonly lastListAt: Instant | undefined }
  /** From now until `end`, remembers the UIDs that go. */
  readonly recordDeletions: () => { readonly uids: ReadonlySet<string>; readonly end: () => void }
  /** Objects that could not be read when they were last seen. */
  readonly unread: ReadonlySet<string>
}

/**
 * A list that arrives page by page, and counts only when it is complete. Both give way to the event loop after every
 * few objects, however many there are; nothing may be applied until they have resolved.
 */
export interface Listing {
  readonly add: (items: readonly unknown[]) => Promise<void>
  readonly commit: (resourceVersion: string) => Promise<void>
}

interface State {
  resourceVersion?: string
  lastListAt?: Instant
  lastEventAt?: Instant
  lastBookmarkAt?: Instant
  lastProgressAt?: Instant
}

export function createFeed<T extends Meta>(options: FeedOptions<T>): Feed {
  const state: State = {}
  const unread = new Set<string>()
  const recordings = new Set<Set<string>>()
  const inner: Inner<T> = {
    options,
    state,
    unread,
    read: createReader(options),
    deliver: createDelivery(options, recordings),
  }
  return {
    unread,
    resourceVersion: () => state.resourceVersion,
    alive: () => {
      state.lastProgressAt = options.clock.now()
    },
    figures: () => ({ lastListAt: undefined, ...state }),
    list: () => createListing(inner),
    apply: event => {
      state.resourceVersion = event.resourceVersion
      state.lastProgressAt = options.clock.now()
      if (event.kind === 'bookmark') state.lastBookmarkAt = state.lastProgressAt
      else applyChange(inner, event)
    },
    recordDeletions: () => {
      const uids = new Set<string>()
      recordings.add(uids)
      return { uids, end: () => recordings.delete(uids) }
    },
  }
}

interface Inner<T extends Meta> {
  readonly options: FeedOptions<T>
  readonly state: State
  readonly unread: Set<string>
  readonly read: (json: unknown) => Reading<T>
  readonly deliver: (change: Change<T>) => void
}

/** An object, or of one that is odd, its UID at least. */
interface Reading<T> {
  readonly uid: string
  readonly object?: T
}

function applyChange<T extends Meta>(
  { options: { store, clock }, state, unread, read, deliver }: Inner<T>,
  { type, object: json }: Extract<WatchEvent, { kind: 'change' }>,
): void {
  state.lastEventAt = clock.now()
  const { uid, object: seen } = read(json)
  if (seen || type === 'DELETED') unread.delete(uid)
  else unread.add(uid)
  // What cannot be read stays as it was known, but it can still go.
  const object = seen ?? (type === 'DELETED' ? store.get(uid) : undefined)
  const change = object && store.apply(type, object)
  if (change) deliver(change)
}

function createListing<T extends Meta>({ options, state, unread, read, deliver }: Inner<T>): Listing {
  const { store, clock } = options
  const objects: T[] = []
  const present = new Set<string>()
  const odd = new Set<string>()
  const take = (json: unknown): void => {
    const { uid, object } = read(json)
    present.add(uid)
    if (object) objects.push(object)
    else odd.add(uid)
  }
  const put = (object: T): void => {
    const change = store.apply('ADDED', object)
    if (change) deliver(change)
  }
  const loseUnlessPresent = (object: T): void => {
    if (!present.has(object.metadata.uid)) deliver(store.lose(object))
  }
  return {
    add: async items => inSlices(items, take, options),
    commit: async resourceVersion => {
      state.resourceVersion = resourceVersion
      state.lastListAt = clock.now()
      state.lastProgressAt = state.lastListAt
      unread.clear()
      for (const uid of odd) unread.add(uid)
      // What came before what went: whoever looks between two slices sees too much rather than too little.
      await inSlices(objects, put, options)
      await inSlices(store.list(), loseUnlessPresent, options)
    },
  }
}

/** A handler that throws has lost a change, so it must not: it is told so, and the stream goes on. */
function createDelivery<T extends Meta>(
  { onChange, report, metrics, signal }: FeedOptions<T>,
  recordings: ReadonlySet<Set<string>>,
): (change: Change<T>) => void {
  return change => {
    const { name, namespace, uid } = change.object.metadata
    if (change.type === 'deleted') for (const uids of recordings) uids.add(uid)
    if (signal.aborted) return
    try {
      onChange(change)
    } catch (error) {
      metrics.failed('handler')
      report({
        what: `the handler of ${change.type} ${namespace}/${name} threw; it must only enqueue`,
        error,
      })
    }
  }
}

/** Reads an object. One that is odd must not stop the others: it is counted and told. */
const createReader =
  <T extends Meta>({ parse, report, metrics }: FeedOptions<T>): Inner<T>['read'] =>
  json => {
    try {
      const object = parse(json)
      return { uid: object.metadata.uid, object }
    } catch (error) {
      metrics.failed('parse')
      report({ what: 'an object could not be read and is left as it was known', error })
      return { uid: uidOf(json) }
    }
  }

/** The UID even of what is odd otherwise; empty where there is none. */
function uidOf(json: unknown): string {
  const metadata = isRecord(json) ? json['metadata'] : undefined
  return (isRecord(metadata) ? optionalString(metadata['uid']) : undefined) ?? ''
}
