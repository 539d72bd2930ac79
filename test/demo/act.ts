import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlPlane } from '../cluster/control-plane.ts'
import type { Lifeguard, LogLine } from '../cluster/lifeguard.ts'
import type { State } from '../cluster/prefect/api.ts'
import type { Prefect } from '../cluster/prefect.ts'
import type { ProcessNode } from '../cluster/process-node.ts'
import type { ClusterView } from './cluster-view.ts'
import { watchCluster } from './cluster-view.ts'
import type { Timeline } from './timeline.ts'
import { createTimeline } from './timeline.ts'

/** Everything the play needs on the stage. */
export interface Stage {
  readonly controlPlane: ControlPlane
  readonly node: ProcessNode
  readonly prefect: Prefect
}

/** What became of one subflow run whose pod was killed. */
export interface Outcome {
  readonly flowRunId: string
  readonly parentFlowRunId: string
  /** Labels and annotations under `prefect.io/` that were found, by kind. */
  readonly found: Readonly<Record<'job' | 'pod', Readonly<Record<string, string>>>>
  readonly states: readonly { readonly name: string; readonly type: string; readonly at: string }[]
  readonly diagnosis: string | undefined
  readonly message: string | undefined
  /** From the Job's Failed condition, as it was seen, to the new state. */
  readonly secondsFromJobFailureToStateChange: number | undefined
  readonly parentState: string
  readonly timeline: Timeline
}

/** pino's level `debug`. */
const DEBUG = 20

/** How long we watch a run hang. It would go on for ever. */
const HANGING_MS = 15_000

/** Starts a parent, waits until its subflow runs in a pod, kills that as an OOM kill does, and watches what comes. */
export async function perform(stage: Stage, lifeguard: Lifeguard | undefined): Promise<Outcome> {
  const { prefect, node } = stage
  const timeline = createTimeline()
  timeline.add('demo', 'starts a parent flow that runs a subflow in a Kubernetes Job and waits for it')
  const parent = await prefect.runParent({ child: 'child', acts: ['wait'] })
  const seen = watchCluster(stage.controlPlane.api, parent.childRunId, timeline)
  await prefect.orders.started(parent.childRunId)
  await prefect.api.waitForState(parent.childRunId, ['RUNNING'])
  const pod = await seen.pod()
  timeline.add('demo', `kills pod ${pod.metadata.name}, as the kernel does when memory is short`)
  node.kill(pod.metadata.uid, 'OOMKilled')
  const failedAt = await seen.jobFailed()
  if (lifeguard) await parent.exited()
  else await sleep(HANGING_MS)
  await seen.stop()
  const outcome = await tellOutcome(stage, { parent, seen, failedAt, lifeguard, timeline })
  if (!lifeguard)
    timeline.add(
      'demo',
      `${HANGING_MS / 1000} s later: ${outcome.states.at(-1)?.name ?? '?'}, and the parent still waits. It would for ever.`,
    )
  await parent.stop()
  return outcome
}

interface Scene {
  readonly parent: { readonly childRunId: string; readonly parentRunId: string }
  readonly seen: ClusterView
  readonly failedAt: number
  readonly lifeguard: Lifeguard | undefined
  readonly timeline: Timeline
}

async function tellOutcome(
  stage: Stage,
  { parent, seen, failedAt, lifeguard, timeline }: Scene,
): Promise<Outcome> {
  const { readStates } = stage.prefect.api
  const [states, parentStates] = await Promise.all([
    readStates(parent.childRunId),
    readStates(parent.parentRunId),
  ])
  addStates(timeline, 'subflow run', states)
  addStates(timeline, 'parent run', parentStates)
  for (const line of lifeguard?.lines() ?? [])
    if (line['flowRunId'] === parent.childRunId) addLine(timeline, line)
  return {
    flowRunId: parent.childRunId,
    parentFlowRunId: parent.parentRunId,
    found: seen.found,
    states: states.map(({ name, type, timestamp }) => ({ name, type, at: timestamp })),
    ...endOf(states, failedAt),
    parentState: parentStates.at(-1)?.name ?? 'unknown',
    timeline,
  }
}

function endOf(
  states: readonly State[],
  failedAt: number,
): Pick<Outcome, 'diagnosis' | 'message' | 'secondsFromJobFailureToStateChange'> {
  const end = states.find(({ type }) => type === 'CRASHED')
  const message = end?.message ?? undefined
  return {
    message,
    diagnosis: /^\[(\w+)\]/.exec(message ?? '')?.[1],
    secondsFromJobFailureToStateChange: end && (Date.parse(end.timestamp) - failedAt) / 1000,
  }
}

function addStates(timeline: Timeline, whose: string, states: readonly State[]): void {
  for (const { name, message, timestamp } of states)
    timeline.add('Prefect', `${whose}: ${name}${message ? `: ${message}` : ''}`, Date.parse(timestamp))
}

/** What the product itself said about this run. */
function addLine(timeline: Timeline, line: LogLine): void {
  const at = Date.parse(line.time)
  const field = (name: string): string => (typeof line[name] === 'string' ? line[name] : '?')
  if (line.msg === 'reviewed' && line['webhook'] === '/mutate')
    timeline.add('admission', `review of a ${field('kind')}: ${field('outcome')}`, at)
  if ('verdict' in line && line.level > DEBUG)
    timeline.add(
      'observer',
      `verdict: ${field('verdict')} (${field('reason')}), diagnosis ${field('code')}`,
      at,
    )
}
