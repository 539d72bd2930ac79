import { eventually } from '../cluster/api.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'
import type { Lifeguard } from '../cluster/lifeguard.ts'
import { startLifeguard } from '../cluster/lifeguard.ts'
import type { FlowName } from '../cluster/prefect/flows.ts'
import type { GuardedProcess } from '../cluster/prefect/process.ts'
import { ensureVenv } from '../cluster/prefect/venv.ts'
import type { Venv } from '../cluster/prefect/venv.ts'
import type { Prefect } from '../cluster/prefect.ts'
import { startPrefect } from '../cluster/prefect.ts'
import type { ProcessNode } from '../cluster/process-node.ts'
import type { Pod } from '../cluster/resources.ts'
import { jobs, pods } from '../cluster/resources.ts'
import { requirementsOf } from './versions.ts'
import type { Combination, Release } from './versions.ts'

/** What became of the main job with one combination of versions. */
export interface Result {
  /** A Job had its label when it was made. */
  readonly isLabelled: boolean
  /** State of a subflow run whose container was killed, and of its parent. */
  readonly child: string
  readonly parent: string
  /** Code of the diagnosis in the run's logs. */
  readonly diagnosis: string
  /** Who ended the run: we, or the worker. */
  readonly endedBy: 'prefect-lifeguard' | 'worker'
  /** How a run with one retry ended whose first container was killed while no worker looked, and in which attempt. */
  readonly retried: string
  /** What our log said that nobody expects. */
  readonly complaints: readonly string[]
}

const LABEL = 'prefect.io/parent-task-run-id'

/** A Python that starts on a busy machine. */
const PATIENCE = { timeoutMs: 180_000 }

export interface Ground {
  readonly controlPlane: ControlPlane
  readonly node: ProcessNode
}

/** Starts this Prefect, a worker and the product on the given ground, lets runs die, and takes all of it down. */
export async function tryMainJob(ground: Ground, combination: Combination): Promise<Result> {
  const venv = await venvOf(combination.server)
  const clientVenv = await venvOf(combination.client)
  await using prefect = await startPrefect({ venv, clientVenv })
  await prefect.setUpFlows()
  const { kubeconfig } = ground.controlPlane
  await using lifeguard = await startLifeguard({
    kubeconfig,
    apiUrl: prefect.apiUrl,
    failureState: 'crashed',
  })
  const worker = await prefect.startWorker({ kubeconfig })
  const killed = await dieOnce({ ...ground, prefect })
  const retried = await dieAndRetry({ ...ground, prefect, worker })
  return { ...killed, retried, complaints: complaintsOf(lifeguard) }
}

/** The pinned release comes with constraints of its own; the others' files name everything. */
const venvOf = (release: Release): Promise<Venv> =>
  release === '3.8' ? ensureVenv() : ensureVenv({ requirements: requirementsOf(release), constraints: '' })

interface Scene extends Ground {
  readonly prefect: Prefect
}

async function dieOnce(scene: Scene): Promise<Omit<Result, 'retried' | 'complaints'>> {
  const { prefect, controlPlane, node } = scene
  const { parent, pod } = await runSubflow(scene, 'child')
  node.kill(pod.metadata.uid, 'OOMKilled')
  const end = await prefect.api.waitForState(parent.childRunId, ['CRASHED'], PATIENCE)
  await parent.exited()
  const [job] = (await controlPlane.api.list(jobs, selector(parent.childRunId))).items
  return {
    isLabelled: job?.metadata.labels?.[LABEL] === end.parent_task_run_id,
    child: end.state.name,
    parent: (await prefect.api.readFlowRun(parent.parentRunId)).state.name,
    diagnosis: await diagnosisIn(prefect, parent.childRunId),
    endedBy: codeIn(end.state.message ?? '') === undefined ? 'worker' : 'prefect-lifeguard',
  }
}

async function dieAndRetry(scene: Scene & { readonly worker: GuardedProcess }): Promise<string> {
  const { prefect, controlPlane, node, worker } = scene
  const { parent, pod } = await runSubflow(scene, 'child-with-retry')
  await worker.stop('SIGKILL')
  node.kill(pod.metadata.uid, 'OOMKilled')
  const finals = ['COMPLETED', 'CRASHED', 'FAILED']
  await prefect.api.waitForState(parent.childRunId, ['AwaitingRetry', ...finals], PATIENCE)
  await prefect.startWorker({ kubeconfig: controlPlane.kubeconfig, name: 'another-worker' })
  const { state, run_count } = await prefect.api.waitForState(parent.childRunId, finals, PATIENCE)
  await parent.stop()
  return `${state.name} in attempt ${run_count}`
}

/** A parent runs a subflow in a pod, where it waits; a second attempt would return at once. */
async function runSubflow({ prefect, controlPlane }: Scene, child: FlowName) {
  const parent = await prefect.runParent({ child, acts: ['wait', 'return'] })
  await prefect.orders.started(parent.childRunId, 0, PATIENCE)
  await prefect.api.waitForState(parent.childRunId, ['RUNNING'], PATIENCE)
  const query = selector(parent.childRunId)
  const pod = await found('a running pod', async () =>
    (await controlPlane.api.list(pods, query)).items.find(isRunning),
  )
  return { parent, pod }
}

const isRunning = ({ status }: Pod): boolean => status.phase === 'Running'

const selector = (flowRunId: string) => ({ labelSelector: `prefect.io/flow-run-id=${flowRunId}` })

const codeIn = (text: string): string | undefined => /^\[(\w+)\]/.exec(text)?.[1]

/** The diagnosis is told whoever ended the run. */
const diagnosisIn = (prefect: Prefect, flowRunId: string): Promise<string> =>
  found('a diagnosis in the logs of the run', async () =>
    (await prefect.api.readLogs(flowRunId))
      .map(({ message }) => codeIn(message))
      .find(code => code !== undefined),
  )

async function found<T>(what: string, read: () => Promise<T | undefined>): Promise<T> {
  const until = (value: T | undefined): boolean => value !== undefined
  const value = await eventually(read, { what, until, timeoutMs: PATIENCE.timeoutMs })
  if (value === undefined) throw new Error(`${what} did not come`)
  return value
}

/** pino's level `error`. */
const ERROR = 50

const complaintsOf = (lifeguard: Lifeguard): readonly string[] => [
  ...new Set(
    lifeguard
      .lines()
      .filter(({ level }) => level >= ERROR)
      .map(({ msg }) => msg),
  ),
]
