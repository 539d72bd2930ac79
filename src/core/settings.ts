import type { DiagnosisCode } from './diagnosis/codes.ts'

/** What to do with a run that is dead: tell only, or move it. Source: HANDLE_SUBFLOW_FAILURE_STATE. */
export type FailureState = 'report' | 'crashed' | 'failed'

/** What to do with a run that is alive but cannot start. */
export type StuckStartAction = 'report' | 'crash' | 'crash-and-suspend'

/** How long we wait where waiting can help, in milliseconds. */
export interface Graces {
  /** A Job completed and the run is still Running: its last report may be on its way. */
  readonly exitedWithoutReporting: number
  /** Every pod that is left is Terminating on a node that is gone or not Ready: the node may come back. */
  readonly nodeLost: number
  /** The attempt and its supposed Job began too close together to tell which came first. */
  readonly closeCall: number
  /** For how long a heart has to be silent where Kubernetes' word is not enough: two heartbeats, one every 180 s. */
  readonly newerState: number
  /** Cancelling: Prefect's worker deletes the Job and reports Cancelled by itself. */
  readonly cancelling: number
  /** A worker took the run up and no Job of that attempt came. */
  readonly missingJob: number
  /** Prefect believes the run alive and nothing of it exists in the cluster. */
  readonly orphan: number
}

export interface VerdictSettings {
  readonly failureState: FailureState
  readonly honourRetries: boolean
  /** How many new attempts we may cause for one run, over its whole life. */
  readonly maxNewAttempts: number
  /** How far the clocks of Prefect and Kubernetes may differ, in milliseconds. */
  readonly clockTolerance: number
  readonly graces: Graces
  readonly stuckStart: StuckStartAction
  /** How long a pod may be unable to start before `stuckStart` acts, by diagnosis, in milliseconds. */
  readonly stuckStartGraces: Readonly<Partial<Record<DiagnosisCode, number>>>
  readonly stuckStartGrace: number
  /** Work pools whose Jobs can only be in this cluster: here, absence is proof. */
  readonly workPools: readonly string[]
}

const SECOND = 1000
const MINUTE = 60 * SECOND

/** What holds where nothing is set; each number's reason stands beside its field above. */
export const DEFAULT_SETTINGS: VerdictSettings = {
  failureState: 'report',
  honourRetries: true,
  maxNewAttempts: 5,
  clockTolerance: 5 * SECOND,
  graces: {
    exitedWithoutReporting: 30 * SECOND,
    nodeLost: 2 * MINUTE,
    closeCall: 3 * MINUTE,
    newerState: 400 * SECOND,
    cancelling: MINUTE,
    missingJob: 10 * MINUTE,
    orphan: 2 * MINUTE,
  },
  stuckStart: 'report',
  stuckStartGraces: { invalid_image: MINUTE },
  stuckStartGrace: 10 * MINUTE,
  workPools: [],
}
