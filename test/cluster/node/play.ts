import type { Pod } from '../resources.ts'

const PREFIX = 'process-node.test'

/** Deaths of a container that need a kernel, and an eviction, which needs a full disk. */
const DEATHS = ['OOMKilled', 'SIGKILL', 'Evicted'] as const
/** Starts that fail: they need a registry, a container runtime or a storage driver. */
const STUCK_STARTS = [
  'ImagePullBackOff',
  'InvalidImageName',
  'CreateContainerConfigError',
  'CreateContainerError',
  'FailedMount',
] as const

type Death = (typeof DEATHS)[number]
type StuckStart = (typeof STUCK_STARTS)[number]

/** What a pod's annotations ask the node to play, because a process on this machine cannot do it by itself. */
export interface Play {
  readonly kind: Death | StuckStart
  /** The container it happens to; the pod's first where absent. */
  readonly container: string
  /** For deaths: so long after the container runs. */
  readonly afterMs: number
  /** How often it happens, counted over all pods of the same owner (a Job's attempts) and their restarts. */
  readonly times: number
  /** Replaces the message a kubelet would write. */
  readonly message: string | undefined
}

/**
 * Reads the annotations `process-node.test/play`, `/container`, `/after` (`500ms`, `3s`), `/times`, `/message`.
 * Undefined when there is no play.
 * @throws RangeError naming the annotation that makes no sense, and what it may be.
 */
export function playOf({ metadata, spec }: Pod): Play | undefined {
  const annotation = (name: string): string | undefined => metadata.annotations?.[`${PREFIX}/${name}`]
  const kind = annotation('play')
  if (kind === undefined) return undefined
  if (!isKind(kind)) throw invalid('play', kind, `one of ${[...DEATHS, ...STUCK_STARTS].join(', ')}`)
  return {
    kind,
    container: annotation('container') ?? spec.containers[0]?.name ?? '',
    afterMs: duration(annotation('after') ?? '0ms'),
    times: count(annotation('times')),
    message: annotation('message'),
  }
}

export const isDeath = (kind: Play['kind']): kind is Death => DEATHS.some(death => death === kind)

const isKind = (kind: string): kind is Play['kind'] =>
  [...DEATHS, ...STUCK_STARTS].some(known => known === kind)

function duration(text: string): number {
  const [, amount, unit] = /^(\d+)(ms|s)$/.exec(text) ?? []
  if (amount === undefined) throw invalid('after', text, 'milliseconds or seconds, for example 500ms or 3s')
  return Number(amount) * (unit === 's' ? 1_000 : 1)
}

function count(text: string | undefined): number {
  if (text === undefined) return Infinity
  if (!/^[1-9]\d*$/.test(text)) throw invalid('times', text, 'a whole number from 1')
  return Number(text)
}

const invalid = (name: string, value: string, expected: string): RangeError =>
  new RangeError(`annotation ${PREFIX}/${name} is ${JSON.stringify(value)}, and may be ${expected}`)
