import { startControlPlane } from './control-plane.ts'
import { startPrefect } from './prefect.ts'
import { startProcessNode } from './process-node.ts'

export interface EnvironmentOptions {
  /** Path of a kubeconfig of a cluster to use. Where absent, one of our own is started, with a process node. */
  readonly kubeconfig?: string
  /** A server, the test flows and a Kubernetes worker. */
  readonly prefect: boolean
  /** For the pods of an existing cluster: its nodes pull it, and it must hold Prefect and the flows. */
  readonly image?: string
  readonly log: (line: string) => void
}

/** Where the parts of an environment are. */
export interface Places {
  readonly kubeconfig: string
  /** Address of the apiserver, where we started it. */
  readonly server?: string | undefined
  readonly prefectApiUrl?: string | undefined
  /** Temporary folders: data, logs. */
  readonly folders: readonly string[]
}

export interface Environment {
  readonly places: Places
  readonly stop: () => Promise<void>
}

type Stop = () => Promise<void>

/** Starts all parts; when one does not start, those that did are stopped before it throws. */
export async function startEnvironment(options: EnvironmentOptions): Promise<Environment> {
  const stops: Stop[] = []
  /** The last one started first: each needs those before it. */
  const stop = async (): Promise<void> => {
    for (const stopOne of stops.splice(0).toReversed()) await stopOne()
  }
  try {
    const cluster = await startCluster(options, stops)
    const prefect = options.prefect ? await startPrefectFor(cluster.kubeconfig, options, stops) : undefined
    const folders = [cluster.folder, prefect?.folder].filter(folder => folder !== undefined)
    const { kubeconfig, server } = cluster
    return { places: { kubeconfig, server, prefectApiUrl: prefect?.apiUrl, folders }, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

interface Cluster {
  readonly kubeconfig: string
  readonly server?: string
  readonly folder?: string
}

async function startCluster({ kubeconfig, log }: EnvironmentOptions, stops: Stop[]): Promise<Cluster> {
  if (kubeconfig !== undefined) {
    log(`using the cluster of ${kubeconfig}`)
    return { kubeconfig }
  }
  log('starting etcd, kube-apiserver, kube-controller-manager and kube-scheduler')
  const controlPlane = await startControlPlane({ log })
  stops.push(controlPlane.stop)
  log('starting a node')
  const node = await startProcessNode({ cluster: controlPlane, log })
  stops.push(node.stop)
  return controlPlane
}

async function startPrefectFor(
  kubeconfig: string,
  { image, log }: EnvironmentOptions,
  stops: Stop[],
): Promise<{ readonly apiUrl: string; readonly folder: string }> {
  log('starting Prefect; the first time this installs it, which takes a minute or two')
  const prefect = await startPrefect()
  stops.push(prefect.stop)
  log('starting a Kubernetes worker')
  await prefect.setUpFlows(image === undefined ? {} : { image })
  await prefect.startWorker({ kubeconfig })
  return prefect
}
