import { execFile } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { startControlPlane } from '../../cluster/control-plane.ts'
import type { ControlPlane, ControlPlaneOptions } from '../../cluster/control-plane.ts'
import { createGuard } from '../../cluster/guard.ts'
import { startPrefect } from '../../cluster/prefect.ts'
import type { Prefect } from '../../cluster/prefect.ts'
import { namespaces } from '../../cluster/resources.ts'

/** A subflow run that is there already, and whose Job is still to be made: its `infrastructure_pid` names it. */
export interface Run {
  readonly flowRunId: string
  readonly parentTaskRunId: string
  /** Name of the run and of its Job. */
  readonly name: string
  readonly namespace: string
}

export interface NewRuns {
  /** Pending, as a worker leaves it when it makes the Job; or Running. */
  readonly state: 'PENDING' | 'RUNNING'
  /** Where their Jobs will be. */
  readonly namespace: string
  /** Names are this and a number. */
  readonly prefix: string
  readonly count: number
}

/** A control plane and a Prefect server that two observers are let loose on. */
export interface World extends AsyncDisposable {
  readonly controlPlane: ControlPlane
  readonly prefect: Prefect
  /** For logs and other files; goes with the world. */
  readonly folder: string
  readonly makeRuns: (runs: NewRuns) => Promise<readonly Run[]>
  /** Each observer looks after one namespace: so both can be at work, and each death is answered by one of them. */
  readonly makeNamespace: (name: string) => Promise<void>
}

const CLONE = join(import.meta.dirname, 'clone_runs.py')

/** 100,000 lines of two UUIDs. */
const MOST_OUTPUT = 8 * 1024 * 1024

const run = promisify(execFile)

/**
 * Prefect runs without its background services: with them, a server on sqlite answers one write in a hundred with 503,
 * and who asks again is counted twice.
 */
export async function startWorld(options: ControlPlaneOptions = {}): Promise<World> {
  await using stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'prefect-lifeguard-bench-'))
  const guard = await createGuard()
  guard.afterDeath({ kind: 'folder', path: folder })
  // It also removes the folder.
  stack.defer(guard.close)
  // No heartbeat comes from a node whose statuses are written by a driver.
  const controlPlane = stack.use(
    await startControlPlane({ jobBackOff: '1s', nodeMonitorGraceSeconds: 36_000, ...options }),
  )
  const prefect = stack.use(await startPrefect({ services: false }))
  await prefect.api.createWorkPool('bench', {})
  const deployment = { name: 'bench', flow: 'bench', workPool: 'bench' }
  const deploymentId = await prefect.api.createDeployment(deployment)
  const models = {
    PENDING: (await prefect.api.createSubflowRun({ deploymentId, states: ['PENDING'] })).flowRunId,
    RUNNING: (await prefect.api.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })).flowRunId,
  }
  const database = join(prefect.folder, 'server', 'prefect.db')
  const parts = stack.move()
  return {
    controlPlane,
    prefect,
    folder,
    makeRuns: async ({ state, namespace, prefix, count }) => {
      const args = [CLONE, database, models[state], namespace, prefix, String(count)]
      const { stdout } = await run(prefect.venv.python, args, { maxBuffer: MOST_OUTPUT })
      return stdout
        .trim()
        .split('\n')
        .map((line, number) => {
          const [flowRunId = '', parentTaskRunId = ''] = line.split(' ')
          return { flowRunId, parentTaskRunId, name: `${prefix}-${number}`, namespace }
        })
    },
    makeNamespace: async name => {
      await controlPlane.api.create(namespaces, { metadata: { name } })
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}
