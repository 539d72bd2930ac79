import type { Instant } from '../../core/objects.ts'
import type { Access } from '../http/access.ts'
import type { Backoff } from './backoff.ts'
import type { Clock } from '../clock.ts'
import { KubernetesError } from '../http/errors.ts'
import type { Feed, Trouble } from './feed.ts'
import { linesOf } from './lines.ts'
import { acceptOf, pagesOf, selectorsOf, type Scope } from '../list.ts'
import type { ReflectorLimits } from './limits.ts'
import type { WatchMetrics } from './metrics.ts'
import { recoveryFrom, type Ending, type Recovery } from './recovery.ts'
import { parseWatchEvent } from './event.ts'

export type Phase = 'idle' | 'listing' | 'watching' | 'waiting' | 'stopped'

/** Why a watch is not up, and since when. */
export interface Outage {
  readonly message: string
  readonly status?: number
  readonly since: Instant
}

export interface FollowOptions {
  readonly access: Pick<Access, 'request' | 'stream'>
  readonly scope: Scope
  readonly feed: Feed
  readonly backoff: Backoff
  readonly limits: ReflectorLimits
  readonly metrics: WatchMetrics
  readonly report: (trouble: Trouble) => void
  readonly clock: Clock
  /** Told after each complete list. */
  readonly onListed: () => void
}

/** Lists once, then watches, for ever; whatever happens, there is a way on. */
export interface Follower {
  /** Ends when the signal aborts, and never otherwise. */
  readonly run: (signal: AbortSignal) => Promise<void>
  /** Breaks the watch off; the next one goes on at the same place, or from a new list. */
  readonly restart: (from: Recovery['from'], reason: string) => void
  readonly phase: () => Phase
  readonly outage: () => Outage | undefined
}

interface State {
  phase: Phase
  /** Why the next round must list first. */
  listFor: string | undefined
  outage: Outage | undefined
  session: AbortController
  interrupt: Recovery | undefined
  before: { readonly reason: string; readonly times: number }
}

export function createFollower(options: FollowOptions): Follower {
  const state: State = {
    phase: 'idle',
    listFor: 'start',
    outage: undefined,
    session: new AbortController(),
    interrupt: undefined,
    before: { reason: 'none', times: 0 },
  }
  return {
    phase: () => state.phase,
    outage: () => state.outage,
    restart: (from, reason) => {
      if (from === 'list') state.listFor ??= reason
      if (state.phase !== 'watching') return
      state.interrupt = { from, reason, wait: 'none' }
      state.phase = 'waiting'
      state.session.abort(new Error(`the watch was broken off: ${reason}`))
    },
    run: async signal => {
      signal.addEventListener('abort', () => state.session.abort(signal.reason), { once: true })
      while (!signal.aborted) {
        // oxlint-disable-next-line no-await-in-loop -- one watch after the other is what following means
        await round(options, state, signal)
      }
      state.phase = 'stopped'
    },
  }
}

async function round(options: FollowOptions, state: State, signal: AbortSignal): Promise<void> {
  state.session = new AbortController()
  if (signal.aborted) return
  const ending = await listAndWatch(options, state)
  if (signal.aborted) return
  const recovery = state.interrupt ?? recoveryFrom(ending)
  state.interrupt = undefined
  const { reason } = recovery
  state.before = { reason, times: state.before.reason === reason ? state.before.times + 1 : 1 }
  noteEnding(options, state, { ending, recovery })
  await pause(options, state, { ending, recovery, signal })
}

function noteEnding(
  { metrics, report, clock, scope }: FollowOptions,
  state: State,
  { ending, recovery }: { readonly ending: Ending; readonly recovery: Recovery },
): void {
  if (recovery.from === 'list') state.listFor ??= recovery.reason
  if (state.listFor === undefined) metrics.reconnected(recovery.reason)
  const { error } = ending
  if (error === undefined || recovery.wait === 'none') return
  state.outage = outageOf(error, state.outage?.since ?? clock.now())
  report({ what: `watching ${scope.path} failed (${recovery.reason}) and is tried again`, error })
}

function outageOf(error: unknown, since: Instant): Outage {
  const message = error instanceof Error ? error.message : String(error)
  const status = error instanceof KubernetesError ? error.status : undefined
  return { message, since, ...(status !== undefined && { status }) }
}

async function pause(
  { backoff, limits, clock }: FollowOptions,
  state: State,
  {
    ending,
    recovery,
    signal,
  }: { readonly ending: Ending; readonly recovery: Recovery; readonly signal: AbortSignal },
): Promise<void> {
  if (recovery.wait === 'none') return
  state.phase = 'waiting'
  const least = ending.error instanceof KubernetesError ? (ending.error.retryAfterMs ?? 0) : 0
  const slow = recovery.wait === 'slow' ? limits.slowMs : 0
  await clock.sleep(backoff.next(Math.max(least, slow)), signal).catch(() => {})
}

/** One list where one is due, and one watch. Never throws: how it ended is the answer. */
async function listAndWatch(options: FollowOptions, state: State): Promise<Ending> {
  const { clock } = options
  const afterList = state.listFor !== undefined
  const progress = { events: 0, startedAt: clock.monotonic() }
  const ending = (): Omit<Ending, 'error'> => ({
    livedMs: clock.monotonic() - progress.startedAt,
    events: progress.events,
    afterList,
    before: state.before,
  })
  try {
    if (state.listFor !== undefined) await list(options, state, state.listFor)
    await watch(options, state, progress)
    return ending()
  } catch (error) {
    return { ...ending(), error }
  }
}

async function list(options: FollowOptions, state: State, reason: string): Promise<void> {
  const { access, scope, limits, feed } = options
  const { signal } = state.session
  state.phase = 'listing'
  const listing = feed.list()
  let resourceVersion = ''
  // Retrying is the follower's own business, with its own back-off.
  for await (const page of pagesOf({ access, scope, pageSize: limits.pageSize, signal, attempts: 1 })) {
    // oxlint-disable-next-line no-await-in-loop -- a page is read before the next one is asked for
    await listing.add(page.items)
    resourceVersion = page.resourceVersion
  }
  signal.throwIfAborted()
  await listing.commit(resourceVersion)
  state.listFor = undefined
  options.metrics.relisted(reason)
  options.onListed()
}

async function watch(
  options: FollowOptions,
  state: State,
  progress: { events: number; startedAt: number },
): Promise<void> {
  const { access, scope, limits, feed, clock } = options
  const { signal } = state.session
  const chunks = await access.stream({
    path: scope.path,
    query: {
      ...selectorsOf(scope),
      watch: true,
      allowWatchBookmarks: true,
      resourceVersion: feed.resourceVersion(),
      timeoutSeconds: Math.round(between(limits.watchSeconds, clock.random())),
    },
    accept: acceptOf(scope, 'watch'),
    signal,
    silenceMs: limits.silenceMs,
  })
  state.phase = 'watching'
  state.outage = undefined
  feed.alive()
  progress.startedAt = clock.monotonic()
  for await (const line of linesOf(chunks, limits.maxLineBytes)) {
    // Lines that were already here when the watch was broken off are not looked at.
    signal.throwIfAborted()
    const event = parseWatchEvent(line, scope.path)
    if (event.kind === 'error') throw event.error
    progress.events += 1
    feed.apply(event)
  }
}

const between = ([least, most]: readonly [number, number], chance: number): number =>
  least + (most - least) * chance
