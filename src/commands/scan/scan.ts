import type { FlowRun } from '../../core/flow-run.ts'
import { isFinal } from '../../core/flow-run.ts'
import type { Instant } from '../../core/objects.ts'
import type { VerdictSettings } from '../../core/settings.ts'
import type { Cancel, Crash, NewAttempt, Verdict } from '../../core/verdict.ts'
import type { Gathered } from '../../observer/gather.ts'
import { gather } from '../../observer/gather.ts'
import { readsOf } from '../connections.ts'
import type { Foundation } from '../foundation.ts'
import { snapshotOf } from './snapshot.ts'

/** A subflow run that Prefect believes alive, and what the rules say about it. */
export interface ScannedRun extends Gathered {
  readonly run: FlowRun
}

export interface Scan {
  readonly at: Instant
  /** Those that something is to be done about first, then by how long they have been in their state. */
  readonly runs: readonly ScannedRun[]
  /** Live subflow runs inside the process of another run, which stand and fall with it. */
  readonly inProcess: number
  /** False where there are more than were looked at. */
  readonly isComplete: boolean
}

/** As many as Prefect is asked about in one request. */
const TOGETHER = 50

/** A Prefect with more live subflow runs than this is looked at in part. */
const MOST_RUNS = 10_000

/**
 * Compares Prefect's live subflow runs with the cluster, and changes nothing. Needs no installation and no label of
 * ours: a run is a subflow where Prefect names its parent's task run, and its Jobs and pods are those that Prefect's
 * worker labelled with its id.
 *
 * Rejects where Prefect or the cluster could not be asked; a read about a single run that fails leaves that one
 * undecided (`trouble`).
 */
export async function scan(foundation: Foundation, signal: AbortSignal): Promise<Scan> {
  const live = await liveRuns(foundation, signal)
  const runs = live.filter(run => !isInProcess(run))
  const seen = await snapshotOf(foundation, signal)
  const reads = { ...readsOf(foundation), now: foundation.access.serverNow, seen }
  const settings = settingsToAct(foundation.config.verdict)
  const scanned: ScannedRun[] = []
  for (const some of inChunks(runs, TOGETHER))
    // oxlint-disable-next-line no-await-in-loop -- all at once would be too many at a time for both APIs
    scanned.push(...(await Promise.all(some.map(run => look(run, { reads, settings, signal })))))
  return {
    at: foundation.access.serverNow(),
    runs: scanned.filter(({ run }) => !isFinal(run.state)).toSorted(worstFirst),
    inProcess: live.length - runs.length,
    isComplete: live.length < MOST_RUNS,
  }
}

async function liveRuns({ prefect }: Foundation, signal: AbortSignal): Promise<readonly FlowRun[]> {
  const found = new Map<string, FlowRun>()
  for await (const run of prefect.liveSubflowRuns({ limit: MOST_RUNS }, signal)) found.set(run.id, run)
  return [...found.values()]
}

/** A plain call of a flow: it never had infrastructure of its own. */
const isInProcess = (run: FlowRun): boolean =>
  run.infrastructurePid === undefined && run.deploymentId === undefined

/** Somebody who asks what is to be done wants to hear it, whatever an installation is allowed to do. */
export const settingsToAct = (settings: VerdictSettings): VerdictSettings => ({
  ...settings,
  failureState: settings.failureState === 'report' ? 'crashed' : settings.failureState,
})

async function look(run: FlowRun, how: Parameters<typeof gather>[1]): Promise<ScannedRun> {
  const gathered = await gather(run.id, how)
  const { flowRun } = gathered.facts
  return { ...gathered, run: flowRun?.known ? (flowRun.value ?? run) : run }
}

/** Whether a verdict is one that changes the run. */
export const isMove = (verdict: Verdict): verdict is Crash | NewAttempt | Cancel =>
  verdict.kind === 'crash' || verdict.kind === 'newAttempt' || verdict.kind === 'cancel'

/** What wants attention most comes first: a move, then what is only told, then what could not be decided. */
function weightOf({ decision: { verdict }, trouble }: ScannedRun): number {
  if (isMove(verdict)) return 0
  if (verdict.kind === 'report') return 1
  return trouble ? 2 : 3
}

const worstFirst = (a: ScannedRun, b: ScannedRun): number =>
  weightOf(a) - weightOf(b) || a.run.state.timestamp - b.run.state.timestamp

const inChunks = <T>(all: readonly T[], size: number): readonly (readonly T[])[] =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, n) => all.slice(n * size, (n + 1) * size))
