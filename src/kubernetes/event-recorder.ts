import { hash } from 'node:crypto'

import type { Access } from './http/access.ts'
import { systemClock, type Clock } from './clock.ts'
import { microTime } from './micro-time.ts'
import { createObjects, type Objects } from './objects.ts'
import { EVENTS } from './paths.ts'
import { createSpamFilter } from './spam-filter.ts'

/** What an Event is about. */
export interface Regarding {
  readonly apiVersion: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

export interface NewEvent {
  readonly regarding: Regarding
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, for machines. */
  readonly reason: string
  /** CamelCase: what was done, or would have been. */
  readonly action: string
  /** For people; cut to what the API takes. */
  readonly note: string
}

/** `repeated`: an Event of the last minutes says the same, and now also how often. `dropped`: too many about this object. */
export type Recorded = 'created' | 'repeated' | 'dropped'

export interface EventRecorder {
  readonly record: (event: NewEvent, signal: AbortSignal) => Promise<Recorded>
}

export interface EventRecorderOptions {
  readonly access: Pick<Access, 'request'>
  /** Shown by `kubectl` as the source. */
  readonly controller: string
  /** Which replica it was: the pod's name. */
  readonly instance: string
  readonly clock?: Clock
}

/** What says the same within ten minutes is one Event. Source: client-go, `tools/record/events_cache.go`. */
const AGGREGATE_MS = 10 * 60 * 1000

/** Source: kubernetes, `pkg/apis/core/validation/events.go`. */
const MAX_NOTE = 1024

/** What remains of 253 characters before the dot and the hash. */
const MAX_NAME = 230

interface Series {
  readonly name: string
  readonly count: number
  readonly lastAt: number
}

interface Recorder {
  readonly options: EventRecorderOptions
  readonly objects: Objects
  readonly clock: Clock
  /** By what an Event says; the one that was quiet for longest comes first. */
  readonly series: Map<string, Series>
}

/** Writes Events in `events.k8s.io/v1`, few enough for etcd. What is remembered for that is forgotten when quiet. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { access, clock = systemClock } = options
  const recorder: Recorder = { options, objects: createObjects(access), clock, series: new Map() }
  const spam = createSpamFilter(clock)
  return {
    record: async (event, signal) => {
      if (!spam.admits(event.regarding.uid)) return 'dropped'
      forgetQuiet(recorder)
      const { type, reason, action, regarding } = event
      const key = JSON.stringify([regarding.uid, type, reason, action])
      if (await repeat(recorder, { key, regarding }, signal)) return 'repeated'
      await create(recorder, { key, event }, signal)
      return 'created'
    },
  }
}

function forgetQuiet({ series, clock }: Recorder): void {
  for (const [key, { lastAt }] of series) {
    if (clock.now() - lastAt < AGGREGATE_MS) return
    series.delete(key)
  }
}

/** `false` when there is nothing to repeat, or the Event is gone: etcd keeps Events for an hour. */
async function repeat(
  { objects, clock, series }: Recorder,
  { key, regarding }: { readonly key: string; readonly regarding: Regarding },
  signal: AbortSignal,
): Promise<boolean> {
  const known = series.get(key)
  if (!known) return false
  const now = clock.now()
  const count = known.count + 1
  series.delete(key)
  series.set(key, { ...known, count, lastAt: now })
  const at = { resource: EVENTS, namespace: regarding.namespace, name: known.name }
  const body = { series: { count, lastObservedTime: microTime(now) } }
  return (await objects.patch(at, { type: 'merge', body }, signal)) === 'applied'
}

async function create(
  { options, objects, clock, series }: Recorder,
  { key, event }: { readonly key: string; readonly event: NewEvent },
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name: regardingName } = event.regarding
  const now = clock.now()
  const unique = hash('sha256', `${key} ${options.instance} ${now} ${clock.monotonic()}`).slice(0, 16)
  const name = `${regardingName.slice(0, MAX_NAME)}.${unique}`
  const body = { ...event, note: cut(event.note), ...headOf(options, { namespace, name, now }) }
  await objects.create({ resource: EVENTS, namespace }, body, signal)
  series.set(key, { name, count: 1, lastAt: now })
}

const headOf = (
  { controller, instance }: EventRecorderOptions,
  { namespace, name, now }: { readonly namespace: string; readonly name: string; readonly now: number },
): object => ({
  apiVersion: 'events.k8s.io/v1',
  kind: 'Event',
  metadata: { namespace, name },
  eventTime: microTime(now),
  reportingController: controller,
  reportingInstance: instance,
})

/** The API counts bytes. */
function cut(note: string): string {
  const bytes = Buffer.from(note)
  if (bytes.length <= MAX_NOTE) return note
  return `${bytes
    .subarray(0, MAX_NOTE - 3)
    .toString('utf8')
    .replace(/\uFFFD+$/, '')}...`
}
