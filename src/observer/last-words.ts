import { listed } from '../core/evidence.ts'
import type { ContainerStatus, Pod } from '../core/objects.ts'
import type { Story } from './story.ts'

/** The end of a container's log, bounded; `undefined` where there is none any more. */
export type LogTail = (
  from: { namespace: string; pod: string; container: string; lines: number; bytes: number },
  signal: AbortSignal,
) => Promise<string | undefined>

/** What a person reads first; the rest is where the cluster keeps its logs. */
const LINES = 20
const BYTES = 4000

/**
 * The last lines of the containers that died, for the run's logs in Prefect: a pod that never reached Prefect has
 * said why only there, and the pod may soon be gone.
 */
export async function lastWords(
  { facts, verdict }: Story,
  { podLogTail }: { readonly podLogTail: LogTail },
  signal: AbortSignal,
): Promise<readonly string[]> {
  const pod = listed(facts.pods).find(
    fact => !fact.gone && fact.pod.metadata.name === verdict.diagnosis.pod,
  )?.pod
  if (!pod) return []
  const tails = await Promise.all(
    failedContainers(pod).map(name => tailOf({ pod, container: name, podLogTail }, signal)),
  )
  return tails.filter(tail => tail !== undefined)
}

const failedContainers = ({ status }: Pod): readonly string[] =>
  [...status.initContainerStatuses, ...status.containerStatuses].filter(hasFailed).map(({ name }) => name)

const hasFailed = ({ state, lastState }: ContainerStatus): boolean =>
  ((state.terminated ?? lastState.terminated)?.exitCode ?? 0) !== 0

async function tailOf(
  { pod, container, podLogTail }: { pod: Pod; container: string; podLogTail: LogTail },
  signal: AbortSignal,
): Promise<string | undefined> {
  const { namespace, name } = pod.metadata
  try {
    const tail = await podLogTail({ namespace, pod: name, container, lines: LINES, bytes: BYTES }, signal)
    return tail === undefined || tail.trim() === ''
      ? undefined
      : `Last lines of container '${container}' of pod '${name}':\n${tail.trimEnd()}`
  } catch {
    // A log that cannot be had (node gone, no permission) is no reason to keep a verdict back.
    return undefined
  }
}
