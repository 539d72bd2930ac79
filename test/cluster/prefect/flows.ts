import { randomUUID } from 'node:crypto'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Guard } from '../guard.ts'
import { waitFor } from './api.ts'
import type { PrefectApi, WaitOptions } from './api.ts'
import { startGuardedProcess } from './process.ts'
import type { GuardedProcess } from './process.ts'
import { environmentWith } from './venv.ts'
import type { Venv } from './venv.ts'

const DIRECTORY = import.meta.dirname

/** Flows of flows.py that can be deployed, by name, with their functions. */
const FUNCTIONS = {
  child: 'child',
  'child-with-retry': 'child_with_retry',
  'child-with-inner': 'child_with_inner',
  parent: 'parent',
} as const

export type FlowName = keyof typeof FUNCTIONS

/** What a flow can be told to do; flows.py explains each. */
type Act = 'return' | 'raise' | 'kill' | 'kill-engine' | 'wait' | `exit:${number}` | `memory:${number}`

export interface FlowDeps {
  readonly venv: Venv
  readonly guard: Guard
  readonly api: PrefectApi
  readonly env: Readonly<Record<string, string>>
  readonly folder: string
  readonly orders: string
}

/** Creates a deployment of every flow, named after its work pool; resolves with their ids. */
export async function deployFlows(api: PrefectApi, workPool: string): Promise<Record<FlowName, string>> {
  const deploy = (flow: FlowName) =>
    api.createDeployment({
      name: workPool,
      flow,
      workPool,
      entrypoint: `flows.py:${FUNCTIONS[flow]}`,
      directory: DIRECTORY,
    })
  return {
    child: await deploy('child'),
    'child-with-retry': await deploy('child-with-retry'),
    'child-with-inner': await deploy('child-with-inner'),
    parent: await deploy('parent'),
  }
}

export interface Orders {
  /** Tells a run that waits, or will wait, what to do; several are carried out one after the other. */
  readonly give: (flowRunId: string, ...acts: readonly Act[]) => Promise<void>
  /** Waits until an attempt (the first: 0) of the run is in its flow function; resolves with its process id. */
  readonly started: (flowRunId: string, attempt?: number, options?: WaitOptions) => Promise<number>
}

export function createOrders(folder: string): Orders {
  let count = 0
  return {
    give: async (flowRunId, ...acts) => {
      for (const act of acts) {
        const file = join(folder, `${flowRunId}.${count++}.order`)
        await writeFile(`${file}.new`, act)
        await rename(`${file}.new`, file)
      }
    },
    started: (flowRunId, attempt = 0, options) => {
      const file = join(folder, `${flowRunId}.${attempt}.started`)
      const look = async () => {
        const pid = await readFile(file, 'utf8').catch(() => undefined)
        return pid === undefined ? undefined : Number(pid)
      }
      return waitFor(`attempt ${attempt} of flow run ${flowRunId} to start`, look, options)
    },
  }
}

/** A flow that runs in a process of this machine, without a Job. */
export interface LocalFlow extends GuardedProcess {
  readonly flowRunId: string
}

/** Runs a flow by `python flows.py`; resolves as soon as its run exists. @throws with the end of its output if it ends first. */
export async function runFlow(
  deps: FlowDeps,
  flow: string,
  parameters: Record<string, unknown>,
): Promise<LocalFlow> {
  const name = `${flow}-${randomUUID()}`
  const child = await startGuardedProcess(deps.guard, {
    name: `flow ${flow}`,
    command: [deps.venv.python, join(DIRECTORY, 'flows.py'), flow, name, JSON.stringify(parameters)],
    env: environmentWith(deps.venv, deps.env),
    cwd: deps.folder,
    log: join(deps.folder, `${name}.log`),
  })
  const look = async () => {
    // Asked before looking: a run that was made before the end is found.
    const running = child.running()
    const [run] = await deps.api.filterFlowRuns({ flow_runs: { name: { any_: [name] } } })
    if (run === undefined && !running) throw await child.failure(`flow ${flow} made no flow run`)
    return run?.id
  }
  return { ...child, flowRunId: await orStop(child, waitFor(`a run of flow ${flow}`, look)) }
}

/** The same promise; the process does not outlive its failure. */
async function orStop<T>(child: GuardedProcess, promise: Promise<T>): Promise<T> {
  try {
    return await promise
  } catch (error) {
    await child.stop()
    throw error
  }
}

export interface ParentOptions {
  readonly child: FlowName
  /** What the child does in its attempts; it returns at once unless told otherwise. */
  readonly acts?: readonly Act[]
  readonly jobVariables?: Record<string, unknown>
  /** The parent reads the child's result, and so fails with it; else it goes on. */
  readonly readsResult?: boolean
  readonly workPool: string
}

export interface Parent extends LocalFlow {
  readonly parentRunId: string
  readonly childRunId: string
}

/** Runs the parent flow in a local process; resolves as soon as it has created its subflow run. */
export async function runParent(deps: FlowDeps, options: ParentOptions): Promise<Parent> {
  const parent = await runFlow(deps, 'parent', {
    deployment: `${options.child}/${options.workPool}`,
    parameters: { acts: options.acts ?? ['return'] },
    job_variables: options.jobVariables ?? {},
    reads_result: options.readsResult ?? false,
  })
  const look = async () => (await deps.api.readSubflowRuns(parent.flowRunId)).at(0)?.id
  const childRunId = await orStop(parent, waitFor(`a subflow run of ${parent.flowRunId}`, look))
  return { ...parent, parentRunId: parent.flowRunId, childRunId }
}
