import { LRUCache } from 'lru-cache'
import { lifeOf } from '../core/life.ts'
import type { Reads } from './gather.ts'
import type { ObserverDeps } from './observer.ts'
import type { ReconcileDeps } from './reconcile.ts'
import type { Story } from './story.ts'
import type { Tells } from './tell.ts'
import { tell } from './tell.ts'

/** Verdicts that were told of and have no Job to be noted on; as many as there are deaths on a very bad day. */
const TOLD = 50_000

/** Everything that looking at one run needs, made from what the observer was given. */
export function createReconcileDeps(
  deps: ObserverDeps,
  { seen, settled }: { seen: Reads['seen']; settled: ReconcileDeps['settled'] },
): ReconcileDeps {
  const { metrics, settings, logger, annotateJob, clock } = deps
  const tells = createTells(deps)
  return {
    reads: { ...deps.reads, seen, now: clock.now },
    acts: {
      ...deps.acts,
      now: clock.now,
      tell: (story, signal) => tell(story, tells, signal),
      onWritten: (state, written) => {
        metrics.wrote(state, written.kind === 'refused' ? written.answer : written.kind)
        if (written.kind === 'overtaken') metrics.repaired()
      },
    },
    settings,
    logger,
    annotateJob,
    settled,
    onVerdict: ({ decision: { verdict } }) => {
      metrics.verdict(verdict.kind, verdict.reason)
    },
  }
}

function createTells(deps: ObserverDeps): Tells {
  const told = new LRUCache<string, true>({ max: TOLD })
  return {
    now: deps.clock.now,
    logger: deps.logger,
    outbox: deps.outbox,
    recordEvent: deps.recordEvent,
    annotateJob: deps.annotateJob,
    podLogTail: deps.podLogTail,
    told: {
      has: signature => told.has(signature),
      add: signature => {
        told.set(signature, true)
      },
    },
    onTold: story => {
      measureStory(story, deps)
    },
  }
}

/** Deaths by diagnosis, and how long after the Job's end the run was moved; clocks differ, so never below zero. */
function measureStory({ facts, verdict, outcome }: Story, { metrics, clock }: ObserverDeps): void {
  metrics.death(verdict.diagnosis.code)
  const life = lifeOf(facts)
  if (life.kind !== 'dead' || life.since === 0 || outcome === 'reported' || outcome === 'explained') return
  metrics.reacted(Math.max(0, (clock.now() - life.since) / 1000))
}
