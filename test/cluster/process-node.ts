import { mkdtemp } from 'node:fs/promises'
import { arch, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createApi, isStatus } from './api.ts'
import type { Api, ApiOptions, Reference } from './api.ts'
import { createGuard } from './guard.ts'
import { createEventRecorder } from './node/events.ts'
import { startLogServer } from './node/log-server.ts'
import { startPodWorker } from './node/pod-worker.ts'
import type { BackOff, Eviction } from './node/pod-context.ts'
import type { PodWorker } from './node/pod-worker.ts'
import { follow } from './node/watch.ts'
import { leases, nodes, pods } from './resources.ts'
import type { Pod } from './resources.ts'
import { microTimestamp, timestamp } from './time.ts'

export interface ProcessNodeOptions {
  /** Where the API is: a ControlPlane will do. */
  readonly cluster: ApiOptions
  /** `process-node` where absent; two nodes of one cluster need two names. */
  readonly name?: string
  readonly labels?: Readonly<Record<string, string>>
  /** Variables of every container below those of its spec, as an image's ENV. PATH is this process's where absent. */
  readonly environment?: Readonly<Record<string, string>>
  /** Waits before a container that keeps ending is started again. A kubelet's where absent: 10 s to 5 minutes. */
  readonly backOff?: BackOff
  readonly log?: (line: string) => void
}

/** How a node can be lost. */
export type Outage =
  /** The network is: its containers go on, and nobody hears of them. */
  | 'CutOff'
  /** The machine is: its containers end, and nobody hears of that either. */
  | 'Gone'
  /** It is there, and says of itself that it is not Ready. */
  | 'NotReady'

/** A Node whose pods are processes on this machine. */
export interface ProcessNode extends AsyncDisposable {
  readonly name: string
  /** The UIDs of the pods it knows. */
  readonly pods: () => string[]
  /**
   * Hurts a running container (the pod's first where none is named): sends a signal to its first process, or kills all of
   * them the way the kernel does when memory is short. The pod is named by UID, name, or namespace/name.
   * @throws where there is no such pod here, or the container does not run.
   */
  readonly kill: (pod: string, how: NodeJS.Signals | 'OOMKilled', container?: string) => void
  /** What a kubelet does with a pod that uses too much, or when the node itself runs out (`nodePressure`). */
  readonly evict: (pod: string, eviction?: Eviction) => void
  /** `CutOff` where absent. Resolves when it is so. */
  readonly goDown: (how?: Outage) => Promise<void>
  /** Resolves when the node is Ready again. */
  readonly comeBack: () => Promise<void>
  /** Kills every process, removes the Node and the temporary folder. May be called more than once. */
  readonly stop: () => Promise<void>
}

/** Where it says it is, for the apiserver to fetch logs; its pods share this address, as processes do. */
const ADDRESS = '127.0.0.1'
const LEASE_NAMESPACE = 'kube-node-lease'
/** Often enough for the shortest grace a test may ask of the node controller. */
const HEARTBEAT_MS = 1_000
const READY_MS = 30_000
const KUBELET_BACK_OFF: BackOff = { firstMs: 10_000, mostMs: 300_000 }
const DEFAULT_EVICTION: Eviction = {
  message: 'Pod ephemeral local storage usage exceeds the total limit of containers 40Mi. ',
}

/**
 * Registers a Node and runs the pods bound to it as local processes, with the status a kubelet would write. Its processes
 * end with this process, however that ends. Resolves when pods can be scheduled on it.
 */
export async function startProcessNode(options: ProcessNodeOptions): Promise<ProcessNode> {
  const { name = 'process-node', log = () => {} } = options
  const api = createApi(options.cluster)
  const guard = await createGuard()
  const folder = await mkdtemp(join(tmpdir(), 'process-node-'))
  guard.afterDeath({ kind: 'folder', path: folder })
  guard.afterDeath({ kind: 'marked', marker: `PROCESS_NODE=${folder}` })
  const workers = new Map<string, PodWorker>()
  const logServer = await startLogServer({
    nodeName: name,
    find: (namespace, pod) =>
      [...workers.values()].find(worker => isNamed(worker.pod(), `${namespace}/${pod}`)),
  })
  const network = createSwitch()
  const manage = createPodManager({
    options,
    api,
    folder,
    workers,
    online: network.whenOn,
    nodeName: name,
    log,
  })

  let session: AbortController | undefined
  const connect = (): void => {
    network.turnOn()
    session = new AbortController()
    const { signal } = session
    void beat({ api, name, signal, log })
    void follow(api, pods, { query: { fieldSelector: `spec.nodeName=${name}` }, signal, log, ...manage })
  }
  const disconnect = (): void => {
    network.turnOff()
    session?.abort()
  }
  const find = (pod: string): PodWorker => {
    const worker = workers.get(pod) ?? [...workers.values()].find(({ pod: read }) => isNamed(read(), pod))
    if (!worker) throw new Error(`node ${name} runs no pod ${pod}`)
    return worker
  }
  const comeBack = async (): Promise<void> => {
    disconnect()
    await writeReady(api, name, { status: 'True', reason: 'KubeletReady', message: 'process node is ready' })
    connect()
    await untilSchedulable(api, name)
  }
  const shutDown = async (): Promise<void> => {
    session?.abort()
    // A worker that waits for the network has to see that it is removed.
    network.turnOn()
    await Promise.all([...workers.values()].map(worker => worker.remove()))
    await logServer.close()
    // The API may be gone already, and then so is the Node.
    await api.remove(nodes, { name }).catch(() => {})
    await api.remove(leases, { namespace: LEASE_NAMESPACE, name }).catch(() => {})
    await api.close()
    await guard.close()
  }

  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= shutDown())
  try {
    await register(api, nodeObject(name, options.labels ?? {}, logServer.port))
    connect()
    await untilSchedulable(api, name)
  } catch (error) {
    await stop()
    throw new Error(`starting node ${name}`, { cause: error })
  }
  return {
    name,
    pods: () => [...workers.keys()],
    kill: (pod, how, container) => find(pod).kill(how, container),
    evict: (pod, eviction = DEFAULT_EVICTION) => find(pod).evict(eviction),
    goDown: async (how = 'CutOff') => {
      if (how === 'NotReady') {
        await writeReady(api, name, {
          status: 'False',
          reason: 'KubeletNotReady',
          message: 'container runtime is down',
        })
        return
      }
      disconnect()
      if (how === 'Gone') for (const worker of workers.values()) worker.killAll('MachineGone')
    },
    comeBack,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

interface PodManagerDeps {
  readonly options: ProcessNodeOptions
  readonly api: Api
  readonly folder: string
  readonly workers: Map<string, PodWorker>
  readonly online: () => Promise<void>
  readonly nodeName: string
  readonly log: (line: string) => void
}

/** What to do when pods of the node come, change and go: one worker each, by UID. */
function createPodManager({ options, api, folder, workers, online, nodeName, log }: PodManagerDeps) {
  const turns = new Map<string, number>()
  const recordEvent = createEventRecorder({ api, nodeName, log })
  const deps = {
    api,
    online,
    recordEvent,
    hostIP: ADDRESS,
    // Programs of this Node come first: `node` in a pod is the one that runs the tests.
    environment: {
      PATH: [dirname(process.execPath), process.env['PATH'] ?? ''].join(delimiter),
      ...options.environment,
      PROCESS_NODE: folder,
    },
    backOff: options.backOff ?? KUBELET_BACK_OFF,
    takeTurn: (owner: string, times: number) => {
      const taken = turns.get(owner) ?? 0
      if (taken < times) turns.set(owner, taken + 1)
      return taken < times
    },
    log,
  }
  const onChange = (pod: Pod): void => {
    const { uid } = pod.metadata
    const worker = workers.get(uid)
    if (worker) worker.update(pod)
    else if (!isOver(pod)) workers.set(uid, startPodWorker(pod, { ...deps, folder: join(folder, uid) }))
  }
  const forget = (uid: string): void => {
    void workers.get(uid)?.remove()
    workers.delete(uid)
  }
  return {
    onChange,
    onDelete: ({ metadata }: Pod) => forget(metadata.uid),
    onList: (items: readonly Pod[]) => {
      const present = new Set(items.map(({ metadata }) => metadata.uid))
      // Deleted by force while nobody watched.
      for (const uid of workers.keys()) if (!present.has(uid)) forget(uid)
      for (const pod of items) onChange(pod)
    },
  }
}

const isOver = ({ status }: Pod): boolean => status.phase === 'Succeeded' || status.phase === 'Failed'

const isNamed = ({ metadata: { namespace, name } }: Pod, text: string): boolean =>
  text === name || text === `${namespace}/${name}`

interface Switch {
  readonly turnOn: () => void
  readonly turnOff: () => void
  /** Resolves when it is on. */
  readonly whenOn: () => Promise<void>
}

function createSwitch(): Switch {
  let gate = Promise.withResolvers<void>()
  let isOn = false
  return {
    turnOn: () => {
      isOn = true
      gate.resolve()
    },
    turnOff: () => {
      // Who waits already goes on waiting for the same gate.
      if (isOn) gate = Promise.withResolvers<void>()
      isOn = false
    },
    whenOn: () => gate.promise,
  }
}

/** Makes the Node, or takes over one that an earlier process left behind. */
async function register(api: Api, node: ReturnType<typeof nodeObject>): Promise<void> {
  const { metadata, status } = node
  try {
    await api.create(nodes, node)
  } catch (error) {
    if (!isStatus(error, 409)) throw error
    await api.patch(nodes, metadata, { type: 'strategic-merge', subresource: 'status', body: { status } })
  }
  const place: Reference = { namespace: LEASE_NAMESPACE, name: metadata.name }
  const spec = { holderIdentity: metadata.name, leaseDurationSeconds: 40, renewTime: microTimestamp() }
  const lease = { apiVersion: leases.apiVersion, kind: leases.kind, metadata: place, spec }
  await api.patch(leases, place, { type: 'apply', body: lease })
}

interface Heart {
  readonly api: Api
  readonly name: string
  readonly signal: AbortSignal
  readonly log: (line: string) => void
}

/** Renews the node's Lease, by which the node controller sees that it lives. */
async function beat({ api, name, signal, log }: Heart): Promise<void> {
  while (!signal.aborted) {
    const body = { spec: { renewTime: microTimestamp() } }
    await api
      .patch(leases, { namespace: LEASE_NAMESPACE, name }, { body })
      .catch((error: unknown) => log(`lease of node ${name}: ${String(error)}`))
    await sleep(HEARTBEAT_MS, undefined, { signal, ref: false }).catch(() => {})
  }
}

interface Readiness {
  readonly status: 'True' | 'False'
  readonly reason: string
  readonly message: string
}

async function writeReady(api: Api, name: string, readiness: Readiness): Promise<void> {
  const conditions = [readyCondition(readiness)]
  await api.patch(
    nodes,
    { name },
    { type: 'strategic-merge', subresource: 'status', body: { status: { conditions } } },
  )
}

const readyCondition = (readiness: Readiness) => ({
  type: 'Ready',
  ...readiness,
  lastHeartbeatTime: timestamp(),
  lastTransitionTime: timestamp(),
})

/** Ready, and the node controller has taken away the taints of a new or lost node. */
const untilSchedulable = (api: Api, name: string) =>
  api.waitFor(
    nodes,
    { name },
    {
      until: ({ spec, status }) =>
        spec.taints.length === 0 &&
        status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True'),
      what: 'to be Ready and without taints',
      timeoutMs: READY_MS,
    },
  )

/** A Node as a kubelet registers it, generous: what runs here is bounded by the machine, not by the scheduler. */
function nodeObject(name: string, labels: Readonly<Record<string, string>>, logPort: number) {
  const resources = { cpu: '64', memory: '256Gi', 'ephemeral-storage': '1Ti', pods: '1000' }
  const architecture = arch() === 'x64' ? 'amd64' : arch()
  const fine = (type: string) => ({
    ...readyCondition({ status: 'False', reason: `KubeletHasNo${type}`, message: '' }),
    type,
  })
  return {
    metadata: {
      name,
      labels: {
        'kubernetes.io/hostname': name,
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': architecture,
        ...labels,
      },
    },
    status: {
      capacity: resources,
      allocatable: resources,
      addresses: [
        { type: 'InternalIP', address: ADDRESS },
        { type: 'Hostname', address: name },
      ],
      daemonEndpoints: { kubeletEndpoint: { Port: logPort } },
      conditions: [
        ...['MemoryPressure', 'DiskPressure', 'PIDPressure'].map(fine),
        readyCondition({ status: 'True', reason: 'KubeletReady', message: 'process node is ready' }),
      ],
      nodeInfo: {
        machineID: name,
        systemUUID: name,
        bootID: name,
        kernelVersion: process.version,
        osImage: 'process node',
        containerRuntimeVersion: 'process://1',
        kubeletVersion: 'v1.37.2',
        kubeProxyVersion: '',
        operatingSystem: 'linux',
        architecture,
      },
    },
  }
}
