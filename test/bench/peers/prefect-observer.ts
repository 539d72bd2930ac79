import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createGuard } from '../../cluster/guard.ts'
import { waitFor } from '../../cluster/prefect/api.ts'
import { startGuardedProcess } from '../../cluster/prefect/process.ts'
import { environmentWith } from '../../cluster/prefect/venv.ts'
import type { Venv } from '../../cluster/prefect/venv.ts'

export interface PrefectObserverOptions {
  readonly venv: Venv
  readonly kubeconfig: string
  /** Prefect's API, or a proxy before it. */
  readonly apiUrl: string
  readonly namespace: string
  /** For its log and its own files. */
  readonly folder: string
}

/** Prefect's own observer, running. */
export interface PrefectObserver {
  readonly pid: number
  readonly stop: () => Promise<void>
}

const SCRIPT = join(import.meta.dirname, 'prefect_observer.py')
const LOOK_MS = 20

/**
 * Starts the observer of the pinned prefect-kubernetes with its default settings, in one namespace. Resolves when it
 * watches; it ends with this process.
 *
 * @throws with the end of its log where it does not start.
 */
export async function startPrefectObserver(options: PrefectObserverOptions): Promise<PrefectObserver> {
  const { venv, kubeconfig, apiUrl, namespace, folder } = options
  const guard = await createGuard()
  const log = join(folder, `prefect-observer-${namespace}.log`)
  const observer = await startGuardedProcess(guard, {
    name: "Prefect's own observer",
    command: [venv.python, SCRIPT],
    env: environmentWith(venv, {
      PREFECT_API_URL: apiUrl,
      PREFECT_HOME: folder,
      KUBECONFIG: kubeconfig,
      PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES: namespace,
      PYTHONDONTWRITEBYTECODE: '1',
    }),
    cwd: folder,
    log,
  })
  const stop = async (): Promise<void> => {
    await observer.stop()
    await guard.close()
  }
  const isReady = async (): Promise<true | undefined> => {
    if (!observer.running()) throw await observer.failure("Prefect's own observer ended")
    return (await readFile(log, 'utf8')).includes('ready\n') || undefined
  }
  try {
    await waitFor("Prefect's own observer to start", isReady, { pollMs: LOOK_MS })
  } catch (error) {
    await stop()
    throw error
  }
  return { pid: observer.pid, stop }
}
