import type { Access } from '../http/access.ts'
import type { Clock } from '../clock.ts'
import type { Feed, Trouble } from './feed.ts'
import type { Follower } from './follow.ts'
import type { ReflectorLimits } from './limits.ts'
import { pagesOf, type Scope } from '../list.ts'
import type { WatchMetrics } from './metrics.ts'
import { parseMeta, type Meta } from '../parse/metadata.ts'
import type { Store } from './store.ts'
import { compareVersions } from './versions.ts'

/** What comparing the store with a fresh list brought to light. */
export interface Comparison {
  /** Objects compared; 0 where the watch is not up, and there was nothing to learn. */
  readonly compared: number
  /** Changes that had not arrived after the settling time, and came once the watch was opened anew. */
  readonly late: number
  /** Changes that did not come even then: a watch that lied. Repaired by a new list. */
  readonly missed: number
}

export interface ComparisonOptions {
  readonly access: Pick<Access, 'request'>
  readonly scope: Scope
  readonly store: Pick<Store<Meta>, 'get' | 'list'>
  readonly feed: Feed
  readonly follower: Pick<Follower, 'phase' | 'restart'>
  readonly limits: ReflectorLimits
  readonly metrics: Pick<WatchMetrics, 'missed'>
  readonly report: (trouble: Trouble) => void
  readonly clock: Pick<Clock, 'sleep'>
}

/** UID to resource version, as of one moment. */
interface Snapshot {
  readonly versions: ReadonlyMap<string, string>
  readonly resourceVersion: string
}

/**
 * Compares what the watch brought with what is there, by metadata alone. A difference is not yet a miss: the change
 * may be on its way. So it gets time to settle, then the watch is opened anew at its place, which replays whatever a
 * dead connection swallowed; only what is still missing afterwards was missed, and a full list repairs it.
 */
export async function compare(options: ComparisonOptions, signal: AbortSignal): Promise<Comparison> {
  const { feed, follower } = options
  const before = feed.resourceVersion()
  if (before === undefined || follower.phase() !== 'watching') return { compared: 0, late: 0, missed: 0 }
  const deletions = feed.recordDeletions()
  try {
    const snapshot = await snapshotOf(options, signal)
    const compared = snapshot.versions.size
    if (compareVersions(snapshot.resourceVersion, before) < 0) return rewound(options, compared)
    const differs = (): number => differences(options, snapshot, deletions.uids)
    return { compared, ...(await settled(options, differs, signal)) }
  } finally {
    deletions.end()
  }
}

async function settled(
  { follower, limits, clock, metrics, report }: ComparisonOptions,
  differs: () => number,
  signal: AbortSignal,
): Promise<Pick<Comparison, 'late' | 'missed'>> {
  if (differs() === 0) return { late: 0, missed: 0 }
  await clock.sleep(limits.settleMs, signal)
  const late = differs()
  if (late === 0) return { late: 0, missed: 0 }
  follower.restart('resourceVersion', 'comparison')
  await clock.sleep(limits.settleMs, signal)
  const missed = follower.phase() === 'watching' ? differs() : 0
  if (missed === 0) return { late, missed: 0 }
  metrics.missed(missed)
  report({ what: `the watch had missed ${missed} changes; a new list repairs them`, error: undefined })
  follower.restart('list', 'missed')
  return { late: late - missed, missed }
}

/** The server is older than what it told us: it was restored from a backup. Only a new list helps. */
function rewound({ follower, report }: ComparisonOptions, compared: number): Comparison {
  report({
    what: 'the apiserver went back in time (restored from a backup?); listing anew',
    error: undefined,
  })
  follower.restart('list', 'rewound')
  return { compared, late: 0, missed: 0 }
}

async function snapshotOf(
  { access, scope, limits }: ComparisonOptions,
  signal: AbortSignal,
): Promise<Snapshot> {
  const versions = new Map<string, string>()
  let resourceVersion = ''
  const pages = pagesOf({
    access,
    scope: { ...scope, metadataOnly: true },
    pageSize: limits.pageSize,
    signal,
  })
  for await (const page of pages) {
    resourceVersion = page.resourceVersion
    for (const item of page.items) {
      const { metadata } = parseMeta(item)
      versions.set(metadata.uid, metadata.resourceVersion)
    }
  }
  return { versions, resourceVersion }
}

function differences(options: ComparisonOptions, snapshot: Snapshot, deletions: ReadonlySet<string>): number {
  const { store, feed } = options
  let found = 0
  for (const [uid, version] of snapshot.versions) {
    const known = store.get(uid)?.metadata.resourceVersion
    const behind = known === undefined ? !deletions.has(uid) : compareVersions(known, version) < 0
    if (behind && !feed.unread.has(uid)) found += 1
  }
  return found + leftOver(store.list(), snapshot)
}

/** Objects the list lacks; those that are newer than it may have been created after it. */
function leftOver(objects: Iterable<Meta>, { versions, resourceVersion }: Snapshot): number {
  let found = 0
  for (const { metadata } of objects) {
    if (!versions.has(metadata.uid) && compareVersions(metadata.resourceVersion, resourceVersion) <= 0)
      found += 1
  }
  return found
}
