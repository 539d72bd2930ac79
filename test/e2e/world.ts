import { eventually } from '../cluster/api.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'
import { startControlPlane } from '../cluster/control-plane.ts'
import type { Lifeguard, LifeguardOptions } from '../cluster/lifeguard.ts'
import { startLifeguard } from '../cluster/lifeguard.ts'
import type { FlowName } from '../cluster/prefect/flows.ts'
import type { Prefect } from '../cluster/prefect.ts'
import { startPrefect } from '../cluster/prefect.ts'
import type { ProcessNode } from '../cluster/process-node.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import type { Job, Pod } from '../cluster/resources.ts'
import { jobs, pods } from '../cluster/resources.ts'

export interface WorldOptions extends Pick<LifeguardOptions, 'env'> {
  /** Only reports, as it does out of the box; else dead runs become Crashed. */
  readonly isReporting?: boolean
  /** Prefect's own observer runs in the worker, too. */
  readonly observer?: boolean
  /** Without one, a test makes the Jobs itself. */
  readonly worker?: boolean
}

/** Everything real: a control plane, a node, Prefect with a worker, and the product as a process of its own. */
export interface World extends AsyncDisposable {
  readonly controlPlane: ControlPlane
  readonly node: ProcessNode
  readonly prefect: Prefect
  readonly flows: Record<FlowName, string>
  readonly lifeguard: () => Lifeguard
  readonly startLifeguard: () => Promise<Lifeguard>
  /** A subflow run, taken up by the worker; its pod only sleeps unless the variables say otherwise. */
  readonly startRun: (options?: RunOptions) => Promise<Run>
}

export interface RunOptions {
  readonly jobVariables?: Record<string, unknown>
  readonly flow?: FlowName
  readonly acts?: readonly string[]
  /** The flow really runs in the pod, instead of a sleep under its name. */
  readonly isReal?: boolean
}

export interface Run {
  readonly flowRunId: string
  readonly parentTaskRunId: string
  /** The newest Job, once there is one. */
  readonly job: () => Promise<Job>
  /** The newest pod, once one runs. */
  readonly runningPod: () => Promise<Pod>
  readonly pods: () => Promise<readonly Pod[]>
  /** Says Running in the name of a flow that only sleeps. */
  readonly reportRunning: () => Promise<void>
}

/** What a death needs is a process; a Python that runs a flow costs five seconds of a core. */
const SLEEP = 'sleep 600'

const TIMEOUT_MS = 90_000

/** Starts all of it, which takes some ten seconds; what is long in the product is short here. */
export async function startWorld(options: WorldOptions = {}): Promise<World> {
  const [controlPlane, prefect] = await Promise.all([
    startControlPlane({ jobBackOff: '1s', nodeMonitorGraceSeconds: 4 }),
    startPrefect(),
  ])
  const node = await startProcessNode({ cluster: controlPlane })
  const flows = await prefect.setUpFlows({})
  if (options.worker !== false)
    await prefect.startWorker({ kubeconfig: controlPlane.kubeconfig, observer: options.observer ?? false })
  const start = (): Promise<Lifeguard> =>
    startLifeguard({
      kubeconfig: controlPlane.kubeconfig,
      apiUrl: prefect.apiUrl,
      ...(options.isReporting !== true && { failureState: 'crashed' as const }),
      ...(options.env && { env: options.env }),
    })
  let lifeguard = await start()
  return {
    controlPlane,
    node,
    prefect,
    flows,
    lifeguard: () => lifeguard,
    startLifeguard: async () => {
      lifeguard = await start()
      return lifeguard
    },
    startRun: run => startRun({ controlPlane, prefect, flows }, run),
    [Symbol.asyncDispose]: async () => {
      await lifeguard.stop('SIGKILL')
      await prefect.stop()
      await node.stop()
      await controlPlane.stop()
    },
  }
}

async function startRun(
  { controlPlane: { api }, prefect, flows }: Pick<World, 'controlPlane' | 'prefect' | 'flows'>,
  { jobVariables = {}, flow = 'child', acts = ['wait'], isReal = false }: RunOptions = {},
): Promise<Run> {
  const { flowRunId, parentTaskRunId } = await prefect.api.createSubflowRun({
    deploymentId: flows[flow],
    parameters: { acts },
    jobVariables: { ...(isReal ? {} : { command: SLEEP }), ...jobVariables },
  })
  const query = { labelSelector: `prefect.io/flow-run-id=${flowRunId}` }
  const podsOf = async (): Promise<readonly Pod[]> => (await api.list(pods, query)).items
  return {
    flowRunId,
    parentTaskRunId,
    job: () => present(`a Job of ${flowRunId}`, async () => newest((await api.list(jobs, query)).items)),
    runningPod: () =>
      present(`a running pod of ${flowRunId}`, async () => (await podsOf()).find(pod => isRunning(pod))),
    pods: podsOf,
    reportRunning: async () => {
      await prefect.api.setState(flowRunId, { type: 'RUNNING' })
    },
  }
}

const newest = (items: readonly Job[]): Job | undefined =>
  items.toSorted((a, b) => a.metadata.creationTimestamp.localeCompare(b.metadata.creationTimestamp)).at(-1)

const isRunning = ({ metadata, status }: Pod): boolean =>
  metadata.deletionTimestamp === undefined &&
  status?.phase === 'Running' &&
  Boolean(status.containerStatuses?.[0]?.state?.running)

/** Waits until a question has an answer. */
export async function present<T>(what: string, read: () => Promise<T | undefined>): Promise<T> {
  const until = (found: T | undefined): boolean => found !== undefined
  const found = await eventually(read, { what, until, timeoutMs: TIMEOUT_MS })
  if (found === undefined) throw new Error(`${what} did not come`)
  return found
}
