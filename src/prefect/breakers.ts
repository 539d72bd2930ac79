import { BREAKER_STATES, createBreaker } from './breaker.ts'
import type { Breaker, BreakerDeps, BreakerState } from './breaker.ts'
import type { Priority } from './rate-limit.ts'

export type Breakers = Readonly<Record<Priority, Breaker>>

export interface BreakersDeps extends Omit<BreakerDeps, 'onChange'> {
  readonly onChange: (change: {
    readonly priority: Priority
    readonly state: BreakerState
    /** Of all breakers together: the one that lets through least. */
    readonly worst: BreakerState
  }) => void
}

/**
 * A breaker for each priority, since they mean different things by "no answer": admission gives up after 1.5 s. With
 * one breaker for both, a Prefect that is merely slow (just restarted, with a backlog) looks dead for ever: the probe
 * of each half-open moment is the next pod's look-up, which is too impatient, and the observer, which would have
 * waited and got its answer, is never let through (seen in a chaos run: open for minutes after an outage was over).
 */
export function createBreakers({ onChange, ...deps }: BreakersDeps): Breakers {
  const states: Record<Priority, BreakerState> = { admission: 'closed', observer: 'closed' }
  const create = (priority: Priority): Breaker =>
    createBreaker({
      ...deps,
      onChange: state => {
        states[priority] = state
        onChange({ priority, state, worst: worstOf(states.admission, states.observer) })
      },
    })
  return { admission: create('admission'), observer: create('observer') }
}

const worstOf = (a: BreakerState, b: BreakerState): BreakerState =>
  BREAKER_STATES[a] > BREAKER_STATES[b] ? a : b
