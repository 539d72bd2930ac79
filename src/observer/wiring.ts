import { LRUCache } from 'lru-cache'
import type { StateType } from '../core/flow-run.ts'
import { lifeOf } from '../core/life.ts'
import type { ObserverDeps } from './deps.ts'
import type { ReconcileDeps } from './reconcile.ts'
import type { Reads } from './reads.ts'
import type { Story } from './story.ts'
import type { Tells } from './tell.ts'
import { tell } from './tell.ts'
import { createTurns } from './turns.ts'
import type { Written } from './write.ts'

/** Verdicts that were told of and have no Job to be noted on, and refusals: as many as there are deaths on a very bad day. */
const DEATHS = 50_000

/**
 * Moves at a time. Each has one request waiting at most, so that at the default of `LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE`,
 * seven a second, a write follows the read before it within some two seconds, however many runs died.
 */
const MOVES_AT_ONCE = 8

/** Everything that looking at one run needs, made from what the observer was given. */
export function createReconcileDeps(
  deps: ObserverDeps,
  { seen, settled }: Pick<ReconcileDeps, 'settled'> & Pick<Reads, 'seen'>,
): ReconcileDeps {
  const { metrics, settings, logger, annotateJob, clock } = deps
  const tells = createTells(deps)
  return {
    reads: { ...deps.reads, seen, now: clock.now },
    acts: {
      ...deps.acts,
      now: clock.now,
      failureState: settings.failureState,
      inTurn: createTurns(MOVES_AT_ONCE),
      tell: (story, signal) => tell(story, tells, signal),
      onWritten: (flowRunId, state, written) => {
        onWritten({ flowRunId, state, written }, deps)
      },
    },
    settings,
    logger,
    annotateJob,
    settled,
    refusals: new LRUCache<string, number>({ max: DEATHS }),
    onVerdict: ({ decision: { verdict } }) => {
      metrics.verdict(verdict.kind, verdict.reason)
    },
  }
}

interface Proposed {
  readonly flowRunId: string
  readonly state: StateType
  readonly written: Written
}

function onWritten({ flowRunId, state, written }: Proposed, { metrics, logger }: ObserverDeps): void {
  metrics.wrote(state, written.kind === 'refused' ? written.answer : written.kind)
  if (written.kind === 'moved') return
  if (written.kind === 'overtaken' && written.isRestored) metrics.repaired()
  const { kind: answer, ...fields } = written
  logger.warn(
    { flowRunId, state, ...fields, answer },
    'the run was moved by somebody else, or Prefect said no',
  )
}

function createTells(deps: ObserverDeps): Tells {
  const told = new LRUCache<string, true>({ max: DEATHS })
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
      deps.onTold?.(story)
    },
  }
}

/** Deaths by diagnosis (a stuck start is none while it is only reported), and how long after the Job's end the run was moved; clocks differ, so never below zero. */
function measureStory({ facts, verdict, outcome }: Story, { metrics, clock }: ObserverDeps): void {
  const life = lifeOf(facts)
  if (life.kind === 'dead' || outcome !== 'reported') metrics.death(verdict.diagnosis.code)
  if (life.kind !== 'dead' || life.since === 0 || outcome === 'reported' || outcome === 'explained') return
  metrics.reacted(Math.max(0, (clock.now() - life.since) / 1000))
}
