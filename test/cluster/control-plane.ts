import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createApi, eventually } from './api.ts'
import type { Api } from './api.ts'
import { ensurePrograms } from './build.ts'
import type { BuildOptions, Program, Programs } from './build.ts'
import { startComponent } from './component.ts'
import type { Component } from './component.ts'
import { ADMIN, writeCredentials, writeKubeconfig } from './credentials.ts'
import type { Credentials } from './credentials.ts'
import { compactEtcd } from './etcd.ts'
import { apiserverFlags, controllerManagerFlags, etcdFlags, etcdSocket, schedulerFlags } from './flags.ts'
import { createGuard } from './guard.ts'
import type { Guard } from './guard.ts'
import { findFreePort } from './ports.ts'
import { serviceAccounts } from './resources.ts'

export interface ControlPlaneOptions extends BuildOptions {
  /** Added after our own, so that they win. */
  readonly apiserverFlags?: readonly string[]
  readonly controllerManagerFlags?: readonly string[]
  readonly schedulerFlags?: readonly string[]
  /** How long a silent node still counts as Ready. 20 s where absent (Kubernetes' own default is 50 s). */
  readonly nodeMonitorGraceSeconds?: number
  /** How long pods without tolerations of their own stay on a node that is not Ready or lost. Kubernetes' own: 300 s. */
  readonly tolerationSeconds?: number
  /**
   * The Job controller's first wait before it replaces a failed pod, a Go duration; doubled with each failure.
   * Kubernetes' own is 10s. No effect on the programs of KUBEBUILDER_ASSETS.
   */
  readonly jobBackOff?: string
  /** Leaves the temporary folder with data and logs behind. It is left behind when the start fails, too. */
  readonly keep?: boolean
}

/** A running etcd, kube-apiserver, kube-controller-manager and kube-scheduler. */
export interface ControlPlane extends AsyncDisposable {
  /** Temporary folder of everything: data, certificates, logs (`<program>.log`). Removed by `stop`. */
  readonly folder: string
  /** Path of a kubeconfig for the administrator. */
  readonly kubeconfig: string
  /** `https://127.0.0.1:<port>` */
  readonly server: string
  /** Certificate of the authority that signed the server's, PEM. */
  readonly ca: string
  /** Bearer token of the administrator, who is in group system:masters. */
  readonly token: string
  readonly adminUser: string
  readonly api: Api
  /** Process ids by program; a stopped apiserver is absent. */
  readonly pids: () => Partial<Record<Program, number>>
  /** Stops the apiserver alone, as an outage of the API: `SIGKILL` for one without a good-bye. */
  readonly stopApiserver: (signal?: NodeJS.Signals) => Promise<void>
  /** Starts it again on the same port. Resolves when it is ready. */
  readonly startApiserver: () => Promise<void>
  /**
   * Makes etcd forget all history up to now. Together with a restart of the apiserver, which forgets its watch cache,
   * a watch from an older resourceVersion is answered 410. Gives the revision.
   */
  readonly compactEtcd: () => Promise<number>
  /** Ends everything. May be called more than once. */
  readonly stop: () => Promise<void>
}

/** On the busiest machine seen the apiserver took 12 s. */
const READY_MS = 90_000
/** Ports are picked at random from 12,000: that three in a row are taken meanwhile does not happen by chance. */
const PORT_ATTEMPTS = 3
/** Longer paths do not fit into a Unix socket's address (104 bytes on macOS, 108 on Linux). */
const LONGEST_SOCKET = 100

/**
 * Starts a Kubernetes control plane of its own: own port, own data, own logs, beside whatever else runs. Its programs
 * end with this process, however that ends. Resolves in about 3 s, when the apiserver is ready and pods can be created.
 * @throws with the name of the log file and its last lines when something does not start.
 */
export async function startControlPlane(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
  const programs = await ensurePrograms(options)
  const guard = await createGuard()
  const folder = await temporaryFolder()
  const keepFolder = guard.afterDeath({ kind: 'folder', path: folder })
  if (options.keep) keepFolder()
  const parts: Parts = { options, programs, guard, folder, running: new Map() }
  try {
    return await start(parts)
  } catch (error) {
    // Its logs are what the error speaks of.
    keepFolder()
    await stopEverything(parts)
    throw error
  }
}

async function temporaryFolder(): Promise<string> {
  const folder = join(tmpdir(), 'prefect-lifeguard-')
  return mkdtemp(
    folder.length + 'XXXXXX/etcd.sock'.length > LONGEST_SOCKET ? '/tmp/prefect-lifeguard-' : folder,
  )
}

/** What starting and stopping share. */
interface Parts {
  readonly options: ControlPlaneOptions
  readonly programs: Programs
  readonly guard: Guard
  readonly folder: string
  readonly running: Map<Program, Component>
}

async function start(parts: Parts): Promise<ControlPlane> {
  const { folder, options, running } = parts
  const credentials = await writeCredentials(folder)
  await startProgram(parts, 'etcd', etcdFlags(folder))
  const { api, port, server } = await startApiserverOnFreePort(parts, credentials)
  const kubeconfig = await writeKubeconfig(folder, { ...credentials, server })
  await startProgram(parts, 'kube-controller-manager', controllerManagerFlags(folder, options))
  await startProgram(parts, 'kube-scheduler', schedulerFlags(folder, options))
  await unlessOneEnds(parts, podsCanBeCreated(api))

  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopped ??= api.close().then(() => stopEverything(parts))
    return stopped
  }
  return {
    folder,
    kubeconfig,
    server,
    ...credentials,
    adminUser: ADMIN,
    api,
    pids: () => Object.fromEntries([...running].map(([program, { pid }]) => [program, pid])),
    stopApiserver: signal => stopProgram(parts, 'kube-apiserver', signal),
    startApiserver: async () => {
      await startProgram(parts, 'kube-apiserver', apiserverFlags(parts, port))
      await unlessOneEnds(parts, isReady(api))
    },
    compactEtcd: () => compactEtcd(etcdSocket(folder)),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function startProgram(parts: Parts, program: Program, args: readonly string[]): Promise<void> {
  const { PATH, HOME, TMPDIR } = process.env
  const component = await startComponent({
    name: program,
    command: parts.programs[program],
    args,
    // Nothing else of ours: etcd reads every ETCD_... variable, and all of them those of proxies.
    env: { PATH, HOME, TMPDIR, CONTROL_PLANE_JOB_BACKOFF: parts.options.jobBackOff },
    logFile: join(parts.folder, `${program}.log`),
    guard: parts.guard,
  })
  parts.running.set(program, component)
}

async function stopProgram({ running }: Parts, program: Program, signal?: NodeJS.Signals): Promise<void> {
  await running.get(program)?.stop(signal)
  running.delete(program)
}

interface Address {
  readonly api: Api
  readonly port: number
  readonly server: string
}

/** Somebody may take the port between our looking and the apiserver's binding it; the apiserver then exits at once. */
async function startApiserverOnFreePort(
  parts: Parts,
  credentials: Credentials,
  attemptsLeft = PORT_ATTEMPTS,
): Promise<Address> {
  const port = await findFreePort()
  const server = `https://127.0.0.1:${port}`
  const api = createApi({ server, ...credentials })
  await startProgram(parts, 'kube-apiserver', apiserverFlags(parts, port))
  try {
    await unlessOneEnds(parts, isReady(api))
    return { api, port, server }
  } catch (error) {
    await api.close()
    if (attemptsLeft <= 1 || !String(error).includes('address already in use')) throw error
  }
  return startApiserverOnFreePort(parts, credentials, attemptsLeft - 1)
}

/** A wait that can be called off. */
type Wait = (signal: AbortSignal) => Promise<unknown>

const isReady =
  (api: Api): Wait =>
  signal =>
    eventually(() => api.text('/readyz'), {
      until: text => text === 'ok',
      what: 'kube-apiserver to be ready',
      timeoutMs: READY_MS,
      signal,
    })

/** Admission refuses pods of a service account that does not exist; the controller manager makes it. */
const podsCanBeCreated =
  (api: Api): Wait =>
  signal =>
    api.waitFor(
      serviceAccounts,
      { namespace: 'default', name: 'default' },
      { until: () => true, what: 'to be made by kube-controller-manager', timeoutMs: READY_MS, signal },
    )

/** Waits, or throws the failure of the first program to end meanwhile. */
async function unlessOneEnds({ running }: Parts, wait: Wait): Promise<void> {
  const over = new AbortController()
  const failures = [...running.values()].map(async component => {
    throw await component.failure(await component.exited)
  })
  try {
    await Promise.race([wait(over.signal), ...failures])
  } finally {
    over.abort()
  }
}

async function stopEverything(parts: Parts): Promise<void> {
  // etcd last: without it the others spend their time on trying to reach it.
  const others = [...parts.running.keys()].filter(program => program !== 'etcd')
  await Promise.all(others.map(program => stopProgram(parts, program)))
  await stopProgram(parts, 'etcd')
  await parts.guard.close()
}
