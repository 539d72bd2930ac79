import { join } from 'node:path'
import type { Container, Pod } from '../resources.ts'
import { startContainer } from './container.ts'
import type { ContainerProcess } from './container.ts'
import { ContainerConfigError, environmentOf, expand } from './environment.ts'
import type { Environment } from './environment.ts'
import { isDeath, playOf } from './play.ts'
import type { Play } from './play.ts'
import { evictPod, fullName, Stopped, tell } from './pod-context.ts'
import type { BackOff, PodContext, PodDeps } from './pod-context.ts'
import type { Terminated } from './status.ts'
import { creationFailed, imagePullWaits, LOOK_AGAIN_MS, playedWait } from './waits.ts'
import type { Wait } from './waits.ts'

/** Of a kubelet's eviction for local storage; the space at its end is part of it. */
const EVICTION_MESSAGE = 'Pod ephemeral local storage usage exceeds the total limit of containers 40Mi. '

/**
 * Runs a container, again and again while `restarts` says so of its end. Gives the last end.
 * @throws Stopped when the pod ends before it could run (again).
 */
export async function runWithRestarts(
  context: PodContext,
  container: Container,
  restarts: (end: Terminated) => boolean,
): Promise<Terminated> {
  for (let failures = 0; ; failures += 1) {
    const end = await runOnce(context, container)
    if (context.ending.hasBegun() || !restarts(end)) return end
    // The first restart comes at once; from then on the kubelet waits, and doubles the wait.
    if (failures > 0) await crashLoopBackOff(context, container, failures - 1)
  }
}

async function runOnce(context: PodContext, container: Container): Promise<Terminated> {
  const { running, ledger, ending } = context
  await pullImage(context, container)
  const command = await create(context, container)
  if (ending.hasBegun()) throw new Stopped()
  const process = await start(context, container, command)
  running.set(container.name, process)
  tellOfStart(context, container)
  playDeath(context, container, process)
  // The end may have begun while the process was being started.
  if (ending.hasBegun()) process.signal('SIGTERM')
  if (ending.isOverdue()) process.kill()
  const end = await process.exited
  running.delete(container.name)
  ledger.setContainer(container.name, { state: end })
  return end
}

/** Says why a container waits, and looks again until it need not wait any more. */
async function waitWhile(
  context: PodContext,
  container: Container,
  reasonToWait: () => Promise<Wait | undefined>,
): Promise<void> {
  for (let wait = await reasonToWait(); wait; wait = await reasonToWait()) {
    const { reason, message, events, againMs } = wait
    context.ledger.setContainer(container.name, { state: { kind: 'waiting', reason, message } })
    for (const event of events) tell(context, event, container)
    await context.ending.pause(againMs)
  }
}

/** Does nothing, or what an annotation asks for: fails until the annotation is gone. */
async function pullImage(context: PodContext, container: Container): Promise<void> {
  const { firstMs } = context.deps.backOff
  let attempt = 0
  await waitWhile(context, container, async () => {
    const play = readPlay(context.pod)
    if (play?.kind !== 'ImagePullBackOff' || play.container !== container.name) return undefined
    const { error, backOff } = imagePullWaits(container.image ?? '', play.message)
    attempt += 1
    return attempt % 2 === 1
      ? { ...error, againMs: Math.min(LOOK_AGAIN_MS, firstMs) }
      : { ...backOff, againMs: backOffMs(context.deps.backOff, attempt / 2 - 1) }
  })
}

interface Command {
  readonly argv: readonly string[]
  readonly env: Environment
}

/** What to run, once everything the container refers to is there. */
async function create(context: PodContext, container: Container): Promise<Command> {
  let env: Environment = {}
  await waitWhile(context, container, async () => {
    try {
      const played = playedWait(context.pod, container)
      if (played) return played
      env = await readEnvironment(context, container)
    } catch (error) {
      const isOfSpec = error instanceof ContainerConfigError || error instanceof RangeError
      if (!isOfSpec) throw error
      return creationFailed('CreateContainerConfigError', error.message)
    }
    return hasCommand(container)
      ? undefined
      : creationFailed('CreateContainerError', 'failed to generate container spec: no command specified')
  })
  const words = [...(container.command ?? []), ...(container.args ?? [])]
  return { argv: words.map(word => expand(word, env)), env }
}

const hasCommand = ({ command = [], args = [] }: Container): boolean => command.length + args.length > 0

/** Again and again while the API does not answer. */
async function readEnvironment(context: PodContext, container: Container): Promise<Environment> {
  const { pod, deps, ending } = context
  await deps.online()
  try {
    return await environmentOf(pod, container, deps)
  } catch (error) {
    if (error instanceof ContainerConfigError) throw error
    deps.log(`environment of pod ${fullName(pod)}: ${String(error)}`)
  }
  await ending.pause(LOOK_AGAIN_MS)
  return readEnvironment(context, container)
}

async function start(
  { pod, deps, ledger }: PodContext,
  container: Container,
  { argv, env }: Command,
): Promise<ContainerProcess> {
  const { state, last, restartCount } = ledger.containerOf(container.name)
  const before = state.kind === 'terminated' ? state : last
  const restarts = before ? restartCount + 1 : restartCount
  const folder = join(deps.folder, 'containers', container.name)
  const process = await startContainer({
    argv,
    env: { ...deps.environment, HOME: folder, HOSTNAME: pod.spec.hostname ?? pod.metadata.name, ...env },
    folder,
    workingDir: container.workingDir,
    logFile: logFile(deps, container.name, restarts),
    messageFromLog: container.terminationMessagePolicy === 'FallbackToLogsOnError',
  })
  ledger.setContainer(container.name, {
    state: { kind: 'running', startedAt: process.startedAt },
    restartCount: restarts,
    containerID: process.id,
    ...(before ? { last: before } : {}),
  })
  return process
}

/** Where a run of a container writes its standard output and error. */
export const logFile = ({ folder }: PodDeps, container: string, run: number): string =>
  join(folder, 'logs', container, `${run}.log`)

function tellOfStart(context: PodContext, container: Container): void {
  const steps = {
    Pulled: `Container image "${container.image ?? ''}" already present on machine`,
    Created: `Created container: ${container.name}`,
    Started: `Started container ${container.name}`,
  }
  for (const [reason, message] of Object.entries(steps))
    tell(context, { type: 'Normal', reason, message }, container)
}

/** Lets a death happen that an annotation asks for. */
function playDeath(context: PodContext, container: Container, process: ContainerProcess): void {
  const { pod, deps, ledger, ending } = context
  const play = readPlay(pod)
  if (!play || !isDeath(play.kind) || play.container !== container.name) return
  if (!deps.takeTurn(ownerOf(pod), play.times)) return
  const { kind, message = EVICTION_MESSAGE, afterMs } = play
  const die = (): void => {
    if (kind === 'Evicted') evictPod(context, { message })
    else process.kill(kind === 'OOMKilled' ? kind : undefined)
  }
  // Not before the API knows that it ran: a death that nobody saw alive is another story.
  void ledger.flush().then(() => ending.later(afterMs, die))
}

async function crashLoopBackOff(context: PodContext, container: Container, failures: number): Promise<void> {
  const { pod, deps, ledger, ending } = context
  // What ended it is told before why it waits.
  await ledger.flush()
  const ms = backOffMs(deps.backOff, failures)
  const name = `container=${container.name} pod=${fullName(pod)}`
  const { state, last } = ledger.containerOf(container.name)
  const before = state.kind === 'terminated' ? state : last
  ledger.setContainer(container.name, {
    state: {
      kind: 'waiting',
      reason: 'CrashLoopBackOff',
      message: `back-off ${ms / 1_000}s restarting failed ${name}`,
    },
    ...(before ? { last: before } : {}),
  })
  const message = `Back-off restarting failed container ${container.name} in pod ${fullName(pod)}`
  tell(context, { type: 'Warning', reason: 'BackOff', message }, container)
  await ending.pause(ms)
}

/** The play, if it makes sense; one that makes none is told of when the container is created. */
export function readPlay(pod: Pod): Play | undefined {
  try {
    return playOf(pod)
  } catch {
    return undefined
  }
}

const backOffMs = ({ firstMs, mostMs }: BackOff, failures: number): number =>
  Math.min(firstMs * 2 ** failures, mostMs)

/** Attempts of a Job count together. */
const ownerOf = ({ metadata }: Pod): string =>
  metadata.ownerReferences?.find(({ controller }) => controller)?.uid ?? metadata.uid
