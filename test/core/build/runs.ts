import type { FlowRun, State, StateType } from '../../../src/core/flow-run.ts'
import { at, NAMESPACE } from './objects.ts'

/** Every state of a flow run that Prefect 3 names, with its type. */
export const STATES = {
  Scheduled: 'SCHEDULED',
  Late: 'SCHEDULED',
  Resuming: 'SCHEDULED',
  AwaitingRetry: 'SCHEDULED',
  AwaitingConcurrencySlot: 'SCHEDULED',
  Pending: 'PENDING',
  Submitting: 'PENDING',
  InfrastructurePending: 'PENDING',
  Running: 'RUNNING',
  Retrying: 'RUNNING',
  Paused: 'PAUSED',
  Suspended: 'PAUSED',
  Cancelling: 'CANCELLING',
  Cancelled: 'CANCELLED',
  Completed: 'COMPLETED',
  Cached: 'COMPLETED',
  Failed: 'FAILED',
  TimedOut: 'FAILED',
  Crashed: 'CRASHED',
} as const satisfies Readonly<Record<string, StateType>>

export type StateName = keyof typeof STATES

export const FLOW_RUN_ID = '7f2b1a52-58a0-4c59-9a34-6a3cbd1f0a11'

/** What a sentence says about a run; the rest is a Running subflow run with a deployment and without retries. */
export interface RunParts extends Partial<Omit<FlowRun, 'state'>> {
  /** A state's name, with its time in seconds after noon: `Running@5`. */
  readonly state?: string
  readonly isTopLevel?: boolean
  readonly hasDeployment?: boolean
  /** The Job that `infrastructure_pid` names; `null` where it is null. */
  readonly names?: string | null
}

/** A subflow run as Prefect answers it. */
export function run(parts: RunParts = {}): FlowRun {
  const { state: described, isTopLevel, hasDeployment, names, ...given } = { ...ORDINARY, ...parts }
  return {
    id: FLOW_RUN_ID,
    name: 'brave-otter',
    state: state(described),
    ...(!isTopLevel && { parentTaskRunId: 'c3a0a9a6-7a43-4d8a-8f8e-0a4b3f9f6f21' }),
    ...(hasDeployment && { deploymentId: '2f4cf4f4-9c0e-4a7e-9d35-0d8f6f1f2b33' }),
    workPoolName: 'kubernetes',
    ...(names !== null && { infrastructurePid: `${NAMESPACE}:${names}` }),
    ...given,
  }
}

const ORDINARY = { state: 'Running@5', isTopLevel: false, hasDeployment: true, names: 'etl', runCount: 1 }

/** A state history, oldest first: `Scheduled`, `Pending@2`; without a time, a second after the one before. */
export function states(...described: readonly string[]): readonly State[] {
  const found: State[] = []
  for (const text of described) found.push(state(text, found.length))
  return found
}

/** A state from its name and, after `@`, its time in seconds after noon. */
export function state(described: string, second = 0): State {
  const [name = '', time] = described.split('@')
  if (!isStateName(name)) throw new Error(`'${name}' is no state of Prefect's`)
  const seconds = time === undefined ? second : Number(time)
  return { id: `${name}-${seconds}`, type: STATES[name], name, timestamp: at(seconds) }
}

const isStateName = (name: string): name is StateName => Object.hasOwn(STATES, name)
