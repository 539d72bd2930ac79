import { Counter, Gauge, type Registry } from 'prom-client'

import type { Instant } from '../../core/objects.ts'

/** What one watch can tell at any moment. */
export interface WatchFigures {
  readonly objects: number
  readonly lastEventAt?: Instant | undefined
  readonly lastBookmarkAt?: Instant | undefined
  readonly lastProgressAt?: Instant | undefined
}

/** What one watch counts. */
export interface WatchMetrics {
  readonly reconnected: (reason: string) => void
  readonly relisted: (reason: string) => void
  /** Changes that the watch should have brought and did not, found by comparing with a list. */
  readonly missed: (changes: number) => void
  /** An object that could not be read, or a handler that threw. */
  readonly failed: (what: 'parse' | 'handler') => void
  /** The figures disappear from the exposition. */
  readonly end: () => void
}

const AGES = [
  ['lifeguard_watch_last_event_age_seconds', 'Seconds since the last change arrived.', 'lastEventAt'],
  ['lifeguard_watch_last_bookmark_age_seconds', 'Seconds since the last bookmark arrived.', 'lastBookmarkAt'],
  [
    'lifeguard_watch_last_progress_age_seconds',
    'Seconds since anything arrived: liveness.',
    'lastProgressAt',
  ],
] as const

/** Watches by resource; each call adds one. */
export function watchMetrics(
  registers: Registry[],
): (resource: string, figures: () => WatchFigures) => WatchMetrics {
  const sources = new Map<() => WatchFigures, string>()
  watchGauges(registers, sources)
  const { reconnects, relists, failures, missed } = watchCounters(registers)
  return (resource, figures) => {
    sources.set(figures, resource)
    missed.inc({ resource }, 0)
    return {
      reconnected: reason => {
        reconnects.inc({ resource, reason })
      },
      relisted: reason => {
        relists.inc({ resource, reason })
      },
      missed: changes => {
        missed.inc({ resource }, changes)
      },
      failed: what => {
        failures.inc({ resource, reason: what })
      },
      end: () => {
        sources.delete(figures)
      },
    }
  }
}

/** Several watches of one resource (one a namespace) share a label: objects add up, of ages the worst is shown. */
function watchGauges(registers: Registry[], sources: ReadonlyMap<() => WatchFigures, string>): void {
  void new Gauge({
    name: 'lifeguard_watch_objects',
    help: 'Objects known from watches.',
    labelNames: ['resource'],
    registers,
    collect() {
      this.reset()
      for (const [figures, resource] of sources) this.inc({ resource }, figures().objects)
    },
  })
  for (const [name, help, field] of AGES) {
    void new Gauge({
      name,
      help,
      labelNames: ['resource'],
      registers,
      collect() {
        this.reset()
        for (const [resource, age] of oldest(sources, field)) this.set({ resource }, age)
      },
    })
  }
}

function oldest(
  sources: ReadonlyMap<() => WatchFigures, string>,
  field: (typeof AGES)[number][2],
): ReadonlyMap<string, number> {
  const ages = new Map<string, number>()
  for (const [figures, resource] of sources) {
    const at = figures()[field]
    if (at !== undefined) ages.set(resource, Math.max(ages.get(resource) ?? 0, (Date.now() - at) / 1000))
  }
  return ages
}

function watchCounters(
  registers: Registry[],
): Record<'reconnects' | 'relists' | 'failures' | 'missed', Counter> {
  const counter = (name: string, help: string, labelNames: string[]): Counter =>
    new Counter({ name, help, labelNames, registers })
  const labels = ['resource', 'reason']
  return {
    reconnects: counter(
      'lifeguard_watch_reconnects_total',
      'Watches opened anew at the same place, by reason.',
      labels,
    ),
    relists: counter('lifeguard_watch_relists_total', 'Full lists, by reason.', labels),
    failures: counter(
      'lifeguard_watch_failures_total',
      'Objects that could not be read, handlers that threw.',
      labels,
    ),
    missed: counter(
      'lifeguard_watch_missed_total',
      'Changes a list showed and the watch had not brought; each was repaired. Must stay 0.',
      ['resource'],
    ),
  }
}
