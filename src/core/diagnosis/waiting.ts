import type { ContainerStatus, KubernetesEvent, Pod } from '../objects.ts'
import type { DiagnosisCode } from './codes.ts'
import { allOf, endOf, isOutOfMemory } from './containers.ts'
import type { DiagnosisEvidence, Statement, HoldUp } from './diagnosis.ts'
import { createDiagnosis } from './diagnosis.ts'
import { podSubject } from './evidence.ts'
import { sinceOf, warningsAbout } from './since.ts'

/** A container that waits for something that will not come by itself. */
interface Waiting {
  readonly status: ContainerStatus
  readonly image: string
  readonly reason: string
  readonly message: string
}

/** What a reason to wait means, in our code and words. */
interface Meaning {
  readonly code: DiagnosisCode
  readonly say: (waiting: Waiting) => Statement
}

const PULL: Meaning = {
  code: 'image_pull_backoff',
  say: ({ status, image }) => ({
    summary: `Image '${image}' of container '${status.name}' cannot be pulled.`,
  }),
}

const INVALID_IMAGE: Meaning = {
  code: 'invalid_image',
  say: ({ status, image }) => ({
    summary: `Image '${image}' of container '${status.name}' is no valid image name.`,
  }),
}

const CONFIG: Meaning = {
  code: 'container_config_error',
  say: ({ status }) => ({
    summary: `Container '${status.name}' cannot be made: something it is configured with is missing.`,
  }),
}

const START: Meaning = {
  code: 'container_start_error',
  say: ({ status, reason }) => ({ summary: `Container '${status.name}' cannot be started (${reason}).` }),
}

const CRASH_LOOP: Meaning = {
  code: 'crash_loop_backoff',
  say: ({ status }) => {
    const end = endOf(status)
    return {
      summary: `Container '${status.name}' keeps crashing (restarts: ${status.restartCount}).`,
      ...(end && { end, cause: isOutOfMemory(end) ? 'oom_killed' : 'error_exit' }),
    }
  },
}

/** kubelet's reasons for a container that waits. Source: kubelet's images/types.go and container/sync_result.go. */
const MEANINGS: ReadonlyMap<string, Meaning> = new Map([
  ['ErrImagePull', PULL],
  ['ImagePullBackOff', PULL],
  ['ErrImageNeverPull', PULL],
  ['ImageInspectError', PULL],
  ['RegistryUnavailable', PULL],
  ['SignatureValidationFailed', PULL],
  ['InvalidImageName', INVALID_IMAGE],
  ['CreateContainerConfigError', CONFIG],
  ['CreateContainerError', START],
  ['RunContainerError', START],
  ['PreCreateHookError', START],
  ['PreStartHookError', START],
  ['PostStartHookError', START],
  ['CrashLoopBackOff', CRASH_LOOP],
])

/** kubelet's Events about a container that cannot start. */
const CONTAINER_EVENTS: ReadonlySet<string> = new Set([
  'Failed',
  'BackOff',
  'InspectFailed',
  'ErrImageNeverPull',
])

/** kubelet's own limit on pulls (registryPullQPS) is no fault of the image, and passes; Airflow leaves it out too. */
const PULL_LIMIT = 'pull QPS exceeded'

/** A container that cannot start, as kubelet's reason for waiting says. */
export function containerWaiting(pod: Pod, evidence: DiagnosisEvidence): HoldUp | undefined {
  const [found] = allOf(pod).flatMap(status => meaningOf(pod, status))
  if (!found) return undefined
  const { waiting, meaning } = found
  const events = warningsAbout(pod, evidence, CONTAINER_EVENTS).filter(
    event => isAboutCrashes(event) === (meaning === CRASH_LOOP),
  )
  const detail = meaning === PULL ? pullError(waiting.message, events) : waiting.message
  if (detail.includes(PULL_LIMIT)) return undefined
  const subject = podSubject(pod, waiting.status.name)
  const diagnosis = createDiagnosis(meaning.code, subject, { detail, ...meaning.say(waiting) })
  return { rule: 'ContainerWaiting', diagnosis, since: sinceOf(pod, events) }
}

function meaningOf(pod: Pod, status: ContainerStatus): { waiting: Waiting; meaning: Meaning } | [] {
  const { reason = '', message = '' } = status.state.waiting ?? {}
  const meaning = MEANINGS.get(reason)
  return meaning
    ? { meaning, waiting: { status, reason, message, image: imageOf(pod, status.name) ?? '?' } }
    : []
}

const isAboutCrashes = ({ message }: KubernetesEvent): boolean => message.startsWith('Back-off restarting')

/** ImagePullBackOff carries the registry's words in newer kubelets only; else an Event has them. */
function pullError(message: string, events: readonly KubernetesEvent[]): string {
  if (message.includes('ErrImagePull')) return message
  return events.findLast(event => event.message.startsWith('Failed to pull image'))?.message ?? message
}

const imageOf = ({ spec }: Pod, name: string): string | undefined =>
  [...spec.initContainers, ...spec.containers].find(container => container.name === name)?.image
