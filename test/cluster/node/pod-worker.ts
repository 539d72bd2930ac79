import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { isStatus } from '../api.ts'
import { pods } from '../resources.ts'
import type { Pod } from '../resources.ts'
import { logFile, readPlay, runWithRestarts } from './container-runs.ts'
import type { Cause } from './container.ts'
import { missingVolume } from './environment.ts'
import { createPodContext, endPod, evictPod, fullName, ignoreStopped, tell } from './pod-context.ts'
import type { Eviction, PodContext, PodDeps } from './pod-context.ts'
import { isSidecar } from './status.ts'
import type { Terminated } from './status.ts'
import { LOOK_AGAIN_MS } from './waits.ts'

/** Runs one pod, from when it is bound to the node to when it is gone. */
export interface PodWorker {
  /** The pod as last seen. */
  readonly pod: () => Pod
  readonly update: (pod: Pod) => void
  /** The API has it no more: everything is killed, nothing told. */
  readonly remove: () => Promise<void>
  /** @throws where the container does not run. */
  readonly kill: (how: NodeJS.Signals | Cause, container?: string) => void
  /** SIGKILL to whatever runs. */
  readonly killAll: (cause?: Cause) => void
  readonly evict: (eviction: Eviction) => void
  /** Path of a container's log, of this run or the one before. Undefined where there is none. */
  readonly logFile: (container: string, previous: boolean) => string | undefined
  readonly isRunning: (container: string) => boolean
}

const DEADLINE_MESSAGE = 'Pod was active on the node longer than the specified deadline'

export function startPodWorker(first: Pod, deps: PodDeps): PodWorker {
  const context = createPodContext(first, deps)
  const { running, ledger, ending } = context
  const removal = new AbortController()
  let deadline: NodeJS.Timeout | undefined
  let isOver = false
  /** Once the API has the final status, a deletion can be confirmed; earlier, it would be lost. */
  let isTold = false
  let confirmed: Promise<void> | undefined

  const finish = async (): Promise<void> => {
    clearTimeout(deadline)
    // The containers' end is told before the pod's, as a kubelet does.
    await ledger.flush()
    ending.close()
    isOver = true
    ledger.set({ sandbox: 'gone', terminal: true })
    await ledger.flush()
    isTold = true
    if (context.pod.metadata.deletionTimestamp !== undefined) await confirmDeletion()
  }
  const confirmDeletion = (): Promise<void> => (confirmed ??= deleteFromApi(context, removal.signal))

  const update = (pod: Pod): void => {
    context.pod = pod
    clearTimeout(deadline)
    if (!isOver) deadline = watchDeadline(context)
    const { deletionTimestamp, deletionGracePeriodSeconds = 0 } = pod.metadata
    if (deletionTimestamp === undefined) return
    if (isTold) void confirmDeletion()
    else if (!isOver) endPod(context, { graceMs: deletionGracePeriodSeconds * 1_000 })
  }
  const killAll = (cause?: Cause): void => {
    for (const process of running.values()) process.kill(cause)
  }

  const work = runContainers(context)
    .catch(ignoreStopped)
    .then(finish)
    .catch((error: unknown) => deps.log(`pod ${fullName(first)}: ${String(error)}`))
  update(first)

  return {
    pod: () => context.pod,
    update,
    remove: async () => {
      removal.abort()
      ledger.close()
      clearTimeout(deadline)
      ending.begin(0, killAll)
      await work
      await rm(deps.folder, { recursive: true, force: true, maxRetries: 5 })
    },
    kill: (how, container = context.pod.spec.containers[0]?.name ?? '') => {
      const process = running.get(container)
      if (!process) {
        const state = JSON.stringify(ledger.containerOf(container).state)
        throw new Error(`container ${container} of pod ${fullName(context.pod)} does not run: ${state}`)
      }
      if (how === 'OOMKilled' || how === 'MachineGone') process.kill(how)
      else if (how === 'SIGKILL') process.kill()
      else process.signal(how)
    },
    killAll,
    evict: eviction => evictPod(context, eviction),
    logFile: (container, previous) => {
      const { restartCount } = ledger.containerOf(container)
      const path = logFile(deps, container, previous ? restartCount - 1 : restartCount)
      return existsSync(path) ? path : undefined
    },
    isRunning: container => running.has(container),
  }
}

/** @throws Stopped when the pod ends before they could run. */
async function runContainers(context: PodContext): Promise<void> {
  const { pod, ledger } = context
  ledger.set({})
  await mountVolumes(context)
  ledger.set({ sandbox: 'ready' })
  const sidecars: Promise<unknown>[] = []
  try {
    if (!(await runInitContainers(context, sidecars))) return
    const { restartPolicy, containers } = pod.spec
    const restarts = ({ exitCode }: Terminated): boolean =>
      restartPolicy === 'Always' || (restartPolicy === 'OnFailure' && exitCode !== 0)
    await Promise.all(
      containers.map(container => runWithRestarts(context, container, restarts).catch(ignoreStopped)),
    )
  } finally {
    await endSidecars(context, sidecars)
  }
}

/** One after the other; sidecars go on running, and are added to the list. Gives whether all others ended well. */
async function runInitContainers(context: PodContext, sidecars: Promise<unknown>[]): Promise<boolean> {
  const { initContainers, restartPolicy } = context.pod.spec
  const restarts = ({ exitCode }: Terminated): boolean => exitCode !== 0 && restartPolicy !== 'Never'
  for (const container of initContainers) {
    if (isSidecar(container)) {
      sidecars.push(runWithRestarts(context, container, () => true).catch(ignoreStopped))
      continue
    }
    const { exitCode } = await runWithRestarts(context, container, restarts)
    if (exitCode !== 0) return false
  }
  return true
}

/** After all others, within the same grace. */
async function endSidecars(context: PodContext, sidecars: readonly Promise<unknown>[]): Promise<void> {
  if (sidecars.length === 0) return
  endPod(context, { graceMs: context.pod.spec.terminationGracePeriodSeconds * 1_000 })
  for (const process of context.running.values()) process.signal('SIGTERM')
  await Promise.all(sidecars)
}

/** Mounts nothing; but a pod whose ConfigMap or Secret is missing waits for it, as anywhere. */
async function mountVolumes(context: PodContext): Promise<void> {
  for (
    let message = await failedMount(context);
    message !== undefined;
    message = await failedMount(context)
  ) {
    tell(context, { type: 'Warning', reason: 'FailedMount', message })
    await context.ending.pause(LOOK_AGAIN_MS)
  }
}

async function failedMount({ pod, deps }: PodContext): Promise<string | undefined> {
  const play = readPlay(pod)
  if (play?.kind === 'FailedMount') {
    return play.message ?? 'MountVolume.SetUp failed for volume "data" : timed out waiting for the condition'
  }
  await deps.online()
  return missingVolume(pod, deps.api)
}

function watchDeadline(context: PodContext): NodeJS.Timeout | undefined {
  const { activeDeadlineSeconds, terminationGracePeriodSeconds } = context.pod.spec
  if (activeDeadlineSeconds === undefined) return undefined
  const due = Date.parse(context.ledger.startTime) + activeDeadlineSeconds * 1_000
  const end = (): void => {
    tell(context, { type: 'Normal', reason: 'DeadlineExceeded', message: DEADLINE_MESSAGE })
    const failure = { reason: 'DeadlineExceeded', message: DEADLINE_MESSAGE }
    endPod(context, { graceMs: terminationGracePeriodSeconds * 1_000, failure })
  }
  return setTimeout(end, Math.max(0, due - Date.now())).unref()
}

/** Tells the API that nothing of the pod runs any more, so that it may go. Until the API has heard, or the signal. */
async function deleteFromApi(context: PodContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && !(await triedToDelete(context))) {
    await sleep(LOOK_AGAIN_MS, undefined, { ref: false })
  }
}

/** False when it should be tried again. */
async function triedToDelete({ pod, deps }: PodContext): Promise<boolean> {
  const { namespace, name, uid } = pod.metadata
  await deps.online()
  try {
    await deps.api.remove(pods, { namespace, name }, { gracePeriodSeconds: 0, preconditions: { uid } })
    return true
  } catch (error) {
    deps.log(`deletion of pod ${fullName(pod)}: ${String(error)}`)
    // 409: another pod has the name.
    return isStatus(error, 409)
  }
}
