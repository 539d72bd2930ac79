import { startLifeguard } from '../../cluster/lifeguard.ts'
import { startPrefectObserver } from '../peers/prefect-observer.ts'
import { startCountingProxy } from './counting-proxy.ts'
import type { CountingProxy } from './counting-proxy.ts'
import type { World } from './world.ts'

/** Ours, or the one in prefect-kubernetes. */
export type Side = 'ours' | 'peer'

/** An observer at work in one namespace, all it asks of Prefect counted. */
export interface Observer extends AsyncDisposable {
  readonly pid: number
  readonly proxy: CountingProxy
  /** From its start until it watches, in milliseconds. */
  readonly startedInMs: number
}

export interface ObserverOptions {
  readonly namespace: string
  /** Of ours only. */
  readonly env?: NodeJS.ProcessEnv
}

/**
 * Ours is the whole product, admission included: its webhooks are registered. Everything is at its default but what
 * `env` says, and the switch, which is on `crashed`. Names in `peers` what it is compared with.
 */
export async function startObserver(
  side: Side,
  { controlPlane, prefect, folder }: World,
  { namespace, env }: ObserverOptions,
): Promise<Observer> {
  await using stack = new AsyncDisposableStack()
  const proxy = stack.use(await startCountingProxy(prefect.apiUrl))
  const { kubeconfig } = controlPlane
  const { apiUrl } = proxy
  const began = Date.now()
  const started =
    side === 'ours'
      ? await startLifeguard({
          kubeconfig,
          apiUrl,
          failureState: 'crashed',
          env: {
            PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES: namespace,
            LIFEGUARD_LOG_LEVEL: 'info',
            LIFEGUARD_DRAIN: '1s',
            ...env,
          },
        })
      : await startPrefectObserver({ venv: prefect.venv, kubeconfig, apiUrl, namespace, folder })
  stack.defer(async () => {
    await started.stop()
  })
  const startedInMs = Date.now() - began
  const parts = stack.move()
  return { pid: started.pid, proxy, startedInMs, [Symbol.asyncDispose]: () => parts.disposeAsync() }
}
