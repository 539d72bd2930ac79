import type { Clock } from '../clock.ts'
import type { LeaseRecord, LeaseStore, StoredLease } from './lease.ts'
import { microTime } from '../micro-time.ts'

/** How an attempt to take or keep the lease went. */
export type Attempt = 'ours' | 'theirs' | 'raced'

export interface ElectorOptions {
  readonly store: LeaseStore
  readonly identity: string
  readonly leaseDurationMs: number
  readonly clock: Pick<Clock, 'now' | 'monotonic'>
  /** Told whenever another identity is seen to hold the lease, our own included. */
  readonly onNewLeader: (identity: string) => void
}

export interface Elector {
  /** Takes the lease where it is free, renews it where it is ours. */
  readonly attempt: (signal: AbortSignal) => Promise<Attempt>
  /**
   * Milliseconds since the last renewal was *sent*; Infinity when there was none. By the clock that says more: the
   * monotonic one stands still while a VM sleeps, the wall clock may be set back.
   */
  readonly sinceRenewal: () => number
  /** Gives the lease up, so that the next holder need not wait until it runs out. */
  readonly release: (signal: AbortSignal) => Promise<void>
}

interface State {
  /** What the lease says, and since when it has said so. */
  seen: { readonly record: LeaseRecord; readonly since: number } | undefined
  /** As we wrote it last; absent when somebody has changed it since. */
  written: StoredLease | undefined
  renewed: { readonly monotonic: number; readonly wall: number } | undefined
}

/**
 * One contender for a Lease, after client-go's `tools/leaderelection`. No two machines' clocks are compared: whether
 * another's lease has run out is measured from when *we* saw it change last, by our own monotonic clock.
 */
export function createElector(options: ElectorOptions): Elector {
  const state: State = { seen: undefined, written: undefined, renewed: undefined }
  const { clock } = options
  return {
    attempt: async signal => attempt(options, state, signal),
    sinceRenewal: () => {
      if (!state.renewed) return Infinity
      return Math.max(clock.monotonic() - state.renewed.monotonic, clock.now() - state.renewed.wall)
    },
    release: async signal => {
      const { written } = state
      state.renewed = undefined
      state.written = undefined
      if (!written) return
      // A duration of one second, as client-go: it must not be zero.
      const record = { ...written.record, holder: '', durationSeconds: 1, renewTime: microTime(clock.now()) }
      await options.store.replace(record, written, signal)
    },
  }
}

async function attempt(options: ElectorOptions, state: State, signal: AbortSignal): Promise<Attempt> {
  // What we wrote last need not be read again: the write tells if it has changed.
  if (state.written && (await write(options, state, { stored: state.written, signal }))) return 'ours'
  const stored = await options.store.read(signal)
  if (stored) observe(options, state, stored.record)
  if (stored && isTheirs(options, state)) return 'theirs'
  return (await write(options, state, { stored, signal })) ? 'ours' : 'raced'
}

async function write(
  options: ElectorOptions,
  state: State,
  { stored, signal }: { readonly stored: StoredLease | undefined; readonly signal: AbortSignal },
): Promise<boolean> {
  const { store, clock } = options
  const sent = { monotonic: clock.monotonic(), wall: clock.now() }
  const record = ours(options, stored?.record)
  state.written = await (stored ? store.replace(record, stored, signal) : store.create(record, signal))
  if (!state.written) return false
  observe(options, state, state.written.record)
  state.renewed = sent
  return true
}

/** What changed is seen now, whatever times it names. */
function observe({ clock, onNewLeader }: ElectorOptions, state: State, record: LeaseRecord): void {
  const before = state.seen?.record
  if (JSON.stringify(before) === JSON.stringify(record)) return
  state.seen = { record, since: clock.monotonic() }
  if (before?.holder !== record.holder && record.holder !== '') onNewLeader(record.holder)
}

function isTheirs({ clock, identity }: ElectorOptions, { seen }: State): boolean {
  if (!seen || seen.record.holder === '' || seen.record.holder === identity) return false
  return clock.monotonic() - seen.since < seen.record.durationSeconds * 1000
}

function ours(
  { identity, leaseDurationMs, clock }: ElectorOptions,
  before: LeaseRecord | undefined,
): LeaseRecord {
  const now = microTime(clock.now())
  const held = before?.holder === identity
  return {
    holder: identity,
    durationSeconds: Math.ceil(leaseDurationMs / 1000),
    acquireTime: held ? before.acquireTime : now,
    renewTime: now,
    transitions: (before?.transitions ?? 0) + (held || !before ? 0 : 1),
  }
}
