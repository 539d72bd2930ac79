import type { Instant } from './objects.ts'

/** Prefect's state types. Source: `prefect.client.schemas.objects.StateType` of Prefect 3. */
export const STATE_TYPES = [
  'SCHEDULED',
  'PENDING',
  'RUNNING',
  'COMPLETED',
  'FAILED',
  'CANCELLED',
  'CRASHED',
  'PAUSED',
  'CANCELLING',
] as const

export type StateType = (typeof STATE_TYPES)[number]

/** A state of a flow run, as its history tells it; times are the Prefect server's clock. */
export interface State {
  readonly id: string
  readonly type: StateType
  readonly name: string
  readonly timestamp: Instant
  readonly message?: string
  readonly transitionId?: string
  readonly scheduledTime?: Instant
}

/** A flow run, as a fresh read of Prefect's API answers it. */
export interface FlowRun {
  readonly id: string
  readonly name: string
  readonly state: State
  /** Present on subflow runs only: the task run of the parent that stands for this run. */
  readonly parentTaskRunId?: string
  readonly deploymentId?: string
  readonly flowId?: string
  readonly workPoolId?: string
  readonly workPoolName?: string
  /** `<namespace>:<job name>` for Kubernetes workers; never cleared, so it may name an older attempt's Job. */
  readonly infrastructurePid?: string
  /** Entries into Running so far: first run, in-process retries and Kubernetes' pod retries alike. */
  readonly runCount: number
  readonly retries?: number
  readonly retryDelaySeconds?: number
  readonly retryType?: 'in_process' | 'reschedule'
}

const FINAL_STATE_TYPES: ReadonlySet<StateType> = new Set(['COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED'])

/** Whether Prefect's engine regards a state as an end. Source: `prefect.client.schemas.objects.TERMINAL_STATES`. */
export const isFinal = (state: State): boolean => FINAL_STATE_TYPES.has(state.type)

/**
 * An in-process retry: only the process that asked for it can carry it out, no worker picks it up
 * (PrefectHQ/prefect#15482). Where that process is dead the run waits for ever.
 */
export const isInProcessRetry = (run: FlowRun): boolean =>
  run.state.type === 'SCHEDULED' && run.state.name === 'AwaitingRetry' && run.retryType === 'in_process'

/**
 * A plain call of a flow within another: it lives and dies in that one's process. A run that was submitted to a
 * work pool without a deployment (`@kubernetes` flows) has a Job of its own, and a work pool's name; its
 * `infrastructure_pid` stays null (prefect 3.8.8, workers/base.py, _submit_adhoc_run).
 */
export const isInProcess = ({ deploymentId, infrastructurePid, workPoolName }: FlowRun): boolean =>
  deploymentId === undefined && infrastructurePid === undefined && workPoolName === undefined
