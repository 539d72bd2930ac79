import type { Container, Pod } from '../resources.ts'
import type { PodEvent } from './events.ts'
import { playOf } from './play.ts'
import type { Play } from './play.ts'

/** Why a container cannot be started yet: its waiting state, the Events that tell of it, and when to look again. */
export interface Wait {
  readonly reason: string
  readonly message: string
  readonly events: readonly Omit<PodEvent, 'fieldPath'>[]
  readonly againMs: number
}

/** After how long something that is missing (a Secret, a volume) is looked for again. */
export const LOOK_AGAIN_MS = 1_000

/** A container that could not be created. */
export const creationFailed = (reason: string, message: string): Wait => ({
  reason,
  message,
  events: [warning('Failed', `Error: ${message}`)],
  againMs: LOOK_AGAIN_MS,
})

/** The failed creation a pod's annotations ask for. @throws RangeError where an annotation makes no sense. */
export function playedWait(pod: Pod, container: Container): Wait | undefined {
  const play = playOf(pod)
  if (!play || play.container !== container.name) return undefined
  return waitOf(play, container.image ?? '')
}

function waitOf({ kind, message }: Play, image: string): Wait | undefined {
  if (kind === 'CreateContainerConfigError') {
    return creationFailed(kind, message ?? 'secret "no-such-secret" not found')
  }
  if (kind === 'CreateContainerError')
    return creationFailed(kind, message ?? 'failed to reserve container name')
  return kind === 'InvalidImageName' ? invalidImageName(message ?? invalidReference(image)) : undefined
}

const invalidReference = (image: string): string =>
  `Failed to apply default image tag "${image}": couldn't parse image name "${image}": invalid reference format`

const invalidImageName = (message: string): Wait => ({
  reason: 'InvalidImageName',
  message,
  events: [warning('InspectFailed', message), warning('Failed', 'Error: InvalidImageName')],
  againMs: LOOK_AGAIN_MS,
})

/** The two states of an image that cannot be pulled, which take turns: the failed attempt, and the wait before the next. */
export function imagePullWaits(
  image: string,
  played: string | undefined,
): Record<'error' | 'backOff', Omit<Wait, 'againMs'>> {
  const message =
    played ??
    `failed to pull and unpack image "${image}": failed to resolve reference "${image}": failed to do request: no such host`
  return {
    error: {
      reason: 'ErrImagePull',
      message,
      events: [
        { type: 'Normal', reason: 'Pulling', message: `Pulling image "${image}"` },
        warning('Failed', `Failed to pull image "${image}": ${message}`),
        warning('Failed', 'Error: ErrImagePull'),
      ],
    },
    backOff: {
      reason: 'ImagePullBackOff',
      message: `Back-off pulling image "${image}": ErrImagePull: ${message}`,
      events: [
        { type: 'Normal', reason: 'BackOff', message: `Back-off pulling image "${image}"` },
        warning('Failed', 'Error: ImagePullBackOff'),
      ],
    },
  }
}

const warning = (reason: string, message: string) => ({ type: 'Warning', reason, message }) as const
