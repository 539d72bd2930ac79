import type { ContainerTermination, Pod } from '../objects.ts'
import type { Ended } from './containers.ts'
import {
  endedOf,
  initsOf,
  isOutOfMemory,
  isUnseen,
  mainEndOf,
  memoryLimitOf,
  sidecarsOf,
} from './containers.ts'
import type { Diagnosis, DiagnosisEvidence } from './diagnosis.ts'
import { createDiagnosis, wordsOf } from './diagnosis.ts'
import { deletionEffectOf, deletionEffectOnMain, isStopOf } from './disruption.ts'
import { eventsAbout, podSubject } from './evidence.ts'
import type { PodRule } from './rule.ts'
import { signalOf } from './signals.ts'
import { stuckPod } from './stuck-pod.ts'

/**
 * Why the containers of a pod ended, the first that answers decides. Tekton names a sidecar's lack of memory before
 * that of a step; here the flow's own comes first: a sidecar lives on after it and would often hide it.
 */
export const containerRules: readonly PodRule[] = [
  { name: 'InitContainerOutOfMemory', explain: initContainerOutOfMemory },
  { name: 'InitContainerFailed', explain: initContainerFailed },
  { name: 'MainContainerOutOfMemory', explain: mainContainerOutOfMemory },
  { name: 'PodDeleted', explain: podDeleted },
  { name: 'SidecarOutOfMemory', explain: sidecarOutOfMemory },
  { name: 'ContainerDidNotStart', explain: containerDidNotStart },
  { name: 'ContainerEndUnseen', explain: containerEndUnseen },
  { name: 'ContainerKeptCrashing', explain: containerKeptCrashing },
  { name: 'ContainerStoppedByKubelet', explain: containerStoppedByKubelet },
  { name: 'OutOfMemorySuspected', explain: outOfMemorySuspected },
  { name: 'MainContainerFailed', explain: mainContainerFailed },
  { name: 'SidecarFailed', explain: sidecarFailed },
]

/** Runtimes report a command that cannot be executed as a termination. Source: kubelet's kuberuntime_container.go. */
const START_FAILURES: ReadonlySet<string | undefined> = new Set(['StartError', 'ContainerCannotRun'])

/** How long after a sidecar's end a flow may fail because of it: time-outs of its connections, in milliseconds. */
const SIDECAR_EFFECT = 60_000

const SIDECAR_RESOLUTION =
  "Raise resources.limits.memory of container <container> in the work pool's base job template, or where the sidecar is injected."

function initContainerOutOfMemory(pod: Pod): Diagnosis | undefined {
  const init = endedOf(initsOf(pod)).find(({ end }) => isOutOfMemory(end))
  return init && outOfMemory(pod, init, SIDECAR_RESOLUTION)
}

function initContainerFailed(pod: Pod, evidence: DiagnosisEvidence): Diagnosis | undefined {
  const init = endedOf(initsOf(pod)).find(({ end }) => end.exitCode !== 0)
  if (!init || deletionEffectOf(pod, init, evidence) === 'stopped') return undefined
  return createDiagnosis('init_container_failed', podSubject(pod, init.name), {
    summary: `Init container '${init.name}' ${exitOf(init.end)}.`,
    detail: init.end.message,
    end: init.end,
  })
}

function mainContainerOutOfMemory(pod: Pod): Diagnosis | undefined {
  const main = mainEndOf(pod)
  return main && isOutOfMemory(main.end) ? outOfMemory(pod, main) : undefined
}

/** Only where the flow failed too, and not long after: a sidecar that was restarted an hour ago explains nothing. */
function sidecarOutOfMemory(pod: Pod): Diagnosis | undefined {
  const main = mainEndOf(pod)
  if (!main || main.end.exitCode === 0) return undefined
  const sidecar = sidecarsOf(pod)
    .flatMap(({ name, restartCount, state, lastState }) =>
      [state.terminated, lastState.terminated].flatMap(end => (end ? { name, restartCount, end } : [])),
    )
    .find(({ end }) => isOutOfMemory(end) && isShortlyBefore(end, main.end))
  return sidecar && outOfMemory(pod, sidecar, SIDECAR_RESOLUTION)
}

/** Both by the same node's clock. */
function isShortlyBefore(first: ContainerTermination, second: ContainerTermination): boolean {
  if (first.finishedAt === undefined || second.finishedAt === undefined) return true
  return first.finishedAt <= second.finishedAt && second.finishedAt - first.finishedAt <= SIDECAR_EFFECT
}

function outOfMemory(pod: Pod, { name, end }: Ended, resolution?: string): Diagnosis {
  const limit = memoryLimitOf(pod, name)
  const why =
    limit === undefined
      ? 'memory ran out (it has no limit of its own)'
      : `it reached its memory limit of ${limit}`
  const summary =
    signalOf(end) === 'SIGKILL'
      ? `Container '${name}' was killed because ${why}.`
      : `A process in container '${name}' was killed because ${why}; the container ${exitOf(end)}.`
  return createDiagnosis('oom_killed', podSubject(pod, name), {
    summary,
    detail: end.message,
    end,
    ...(resolution !== undefined && { resolution }),
  })
}

/** A pod that went before its flow had ended, or was being stopped when it did. */
function podDeleted(pod: Pod, evidence: DiagnosisEvidence): Diagnosis | undefined {
  if (deletionEffectOnMain(pod, evidence) !== 'stopped') return undefined
  const main = mainEndOf(pod)
  const stuck = stuckPod(pod, evidence)?.diagnosis
  return createDiagnosis('pod_deleted', podSubject(pod, main?.name), {
    summary: `Pod '${pod.metadata.name}' was deleted before its flow had ended.`,
    ...(main && { end: main.end, detail: main.end.message }),
    ...(stuck && { because: stuck, detail: wordsOf(stuck) }),
  })
}

function containerDidNotStart(pod: Pod): Diagnosis | undefined {
  const main = mainEndOf(pod)
  if (!main || !START_FAILURES.has(main.end.reason)) return undefined
  return createDiagnosis('container_start_error', podSubject(pod, main.name), {
    summary: `Container '${main.name}' could not be started (${main.end.reason}).`,
    detail: main.end.message,
    end: main.end,
  })
}

/** kubelet and containerd make up 137 or 255 for a container that was no longer there to ask. */
function containerEndUnseen(pod: Pod): Diagnosis | undefined {
  const main = mainEndOf(pod)
  if (!main || !isUnseen(main.end)) return undefined
  return createDiagnosis('unknown', podSubject(pod, main.name), {
    summary: `Container '${main.name}' was lost and its end not recorded: its node or container runtime was restarted.`,
    detail: main.end.message,
    resolution:
      'Look at the node with `kubectl describe node <node>`; flow retries or `backoff_limit` let the run start again.',
  })
}

/** restartPolicy OnFailure: one pod, whose container was restarted until the Job gave up. */
function containerKeptCrashing(pod: Pod): Diagnosis | undefined {
  const main = mainEndOf(pod)
  if (!main || main.restartCount === 0 || main.end.exitCode === 0) return undefined
  return createDiagnosis('crash_loop_backoff', podSubject(pod, main.name), {
    summary: `Container '${main.name}' kept crashing: after ${restarts(main.restartCount)} it ${exitOf(main.end)}.`,
    detail: main.end.message,
    end: main.end,
    cause: 'error_exit',
  })
}

/** A probe failed, most of all: kubelet says so in an Event, where the container's state has no more than a signal. */
function containerStoppedByKubelet(pod: Pod, evidence: DiagnosisEvidence): Diagnosis | undefined {
  const main = mainEndOf(pod)
  const stop = main && eventsAbout(pod.metadata, evidence).findLast(event => isStopOf(event, main.name))
  if (!stop || main.end.exitCode === 0) return undefined
  return createDiagnosis('error_exit', podSubject(pod, main.name), {
    summary: `Container '${main.name}' was stopped by kubelet and ${exitOf(main.end)}.`,
    detail: stop.message,
    end: main.end,
    resolution:
      "Where a probe failed, remove or relax it in the work pool's base job template: a flow that computes may answer late.",
  })
}

/**
 * SIGKILL without a word from anybody. It may be memory: the kernel kills, and the runtime's notice comes too late
 * or never. It may be anybody else, so it stays a suspicion, and only where a limit could be reached.
 */
function outOfMemorySuspected(pod: Pod, evidence: DiagnosisEvidence): Diagnosis | undefined {
  const main = mainEndOf(pod)
  if (!main || signalOf(main.end) !== 'SIGKILL' || deletionEffectOnMain(pod, evidence) === 'unclear')
    return undefined
  const limit = memoryLimitOf(pod, main.name)
  if (limit === undefined) return undefined
  return createDiagnosis('oom_suspected', podSubject(pod, main.name), {
    summary: `Container '${main.name}' was killed (SIGKILL) and Kubernetes does not say why; it may have reached its memory limit of ${limit}.`,
    detail: main.end.message,
    end: main.end,
  })
}

/** What exit codes tell by convention. Source: POSIX shells, and Prefect's own hints (infrastructure_exit_codes.py). */
const EXIT_RESOLUTIONS: Readonly<Record<number, string>> = {
  126: 'The command is not executable: check its permissions in the image and `command` in the base job template.',
  127: 'The command was not found: check that Prefect is installed in `image` and that `command` is right.',
  143: 'The process was asked to stop (SIGTERM): look for who did with `kubectl get events -n <namespace>`; flow retries or `backoff_limit` let the run start again.',
}

function mainContainerFailed(pod: Pod): Diagnosis | undefined {
  const main = mainEndOf(pod)
  return main && main.end.exitCode !== 0 ? errorExit(pod, main) : undefined
}

/** The flow ended well and another container did not: the Job counts the pod as failed all the same. */
function sidecarFailed(pod: Pod): Diagnosis | undefined {
  if (pod.status.phase !== 'Failed') return undefined
  const sidecar = endedOf(pod.status.containerStatuses).find(({ end }) => end.exitCode !== 0)
  return sidecar && errorExit(pod, sidecar)
}

function errorExit(pod: Pod, { name, end }: Ended): Diagnosis {
  const resolution = EXIT_RESOLUTIONS[end.exitCode]
  return createDiagnosis('error_exit', podSubject(pod, name), {
    summary: `Container '${name}' ${exitOf(end)}.`,
    detail: end.message,
    end,
    ...(resolution !== undefined && { resolution }),
  })
}

const restarts = (count: number): string => (count === 1 ? '1 restart' : `${count} restarts`)

function exitOf(end: ContainerTermination): string {
  const signal = signalOf(end)
  return signal === undefined
    ? `exited with code ${end.exitCode}`
    : `was ended by ${signal} (exit code ${end.exitCode})`
}
