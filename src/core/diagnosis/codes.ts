/**
 * Why a run died or cannot start. Machine-readable and stable: automations, alerts and metrics match on them, so a
 * code may be added but never renamed.
 */
export const DIAGNOSIS_CODES = [
  'oom_killed',
  'oom_suspected',
  'evicted',
  'preempted',
  'node_lost',
  'image_pull_backoff',
  'invalid_image',
  'crash_loop_backoff',
  'unschedulable',
  'container_config_error',
  'container_start_error',
  'volume_mount_error',
  'pod_creation_failed',
  'init_container_failed',
  'deadline_exceeded',
  'pod_failure_policy',
  'backoff_limit_exceeded',
  'job_deleted',
  'pod_deleted',
  'exited_without_reporting',
  'error_exit',
  'unknown',
] as const

export type DiagnosisCode = (typeof DIAGNOSIS_CODES)[number]

/** Prefect's own levels. Source: `prefect_kubernetes.diagnostics.DiagnosisLevel` of prefect-kubernetes 0.8. */
export type DiagnosisLevel = 'error' | 'warning' | 'info'

/** What holds for every diagnosis of a code. */
export interface CatalogueEntry {
  /** Prefect's word, a stable contract of its own. Source: `prefect_kubernetes.diagnostics.DiagnosisCategory`. */
  readonly category?: string
  /** `error`: the same will happen again until something is changed. `warning`: the next attempt may well succeed. */
  readonly level: DiagnosisLevel
  /** Whether a Job that is alive can be found unable to start with it. */
  readonly isStuckStart: boolean
  /** What to change and where; names in angle brackets are filled in where they are known. */
  readonly resolution: string
}

const DESCRIBE_POD = 'Look with `kubectl describe pod <pod> -n <namespace>`.'
const DESCRIBE_JOB = 'Look with `kubectl describe job <job> -n <namespace>`.'
const LOGS = 'Read `kubectl logs <pod> -c <container> -n <namespace>` while the pod exists.'

/** Every code with what Prefect calls it, how bad it is and what helps. Variables are those of Prefect's Kubernetes work pools. */
export const CATALOGUE: Readonly<Record<DiagnosisCode, CatalogueEntry>> = {
  oom_killed: {
    category: 'OOMKilled',
    level: 'error',
    isStuckStart: false,
    resolution:
      "Raise `memory_limit` and `memory_request` in the deployment's job_variables or in the work pool's base job template, or make the flow hold less in memory.",
  },
  oom_suspected: {
    level: 'error',
    isStuckStart: false,
    resolution:
      "If the flow may have run out of memory, raise `memory_limit` in the deployment's job_variables. Else look for who sends SIGKILL: `kubectl get events -n <namespace> --field-selector involvedObject.name=<pod>` and the kernel log of node <node>.",
  },
  evicted: {
    category: 'Evicted',
    level: 'warning',
    isStuckStart: false,
    resolution:
      'Set requests (and limits for ephemeral-storage) in the base job template to what the flow really uses. Where nodes are drained or scaled down by plan, add a PodDisruptionBudget, or set `backoff_limit` so that Kubernetes tries again.',
  },
  preempted: {
    level: 'warning',
    isStuckStart: false,
    resolution:
      "Give the pods a priorityClassName of their own in the work pool's base job template, or add nodes; flow retries or `backoff_limit` let the run start again.",
  },
  node_lost: {
    level: 'warning',
    isStuckStart: false,
    resolution:
      'Run it again; flow retries or `backoff_limit` do so by themselves. Look at the node with `kubectl describe node <node>`; where spot or preemptible nodes are not acceptable, exclude them by nodeSelector in the base job template.',
  },
  image_pull_backoff: {
    category: 'ImagePullError',
    level: 'error',
    isStuckStart: true,
    resolution: `Check that the image and tag in \`image\` (job_variables or base job template) exist and that imagePullSecrets of the service account may read them. ${DESCRIBE_POD}`,
  },
  invalid_image: {
    level: 'error',
    isStuckStart: true,
    resolution: "Correct `image` in the deployment's job_variables or in the work pool's base job template.",
  },
  crash_loop_backoff: {
    category: 'CrashLoopBackOff',
    level: 'error',
    isStuckStart: true,
    resolution:
      'Read `kubectl logs <pod> -c <container> -n <namespace> --previous`; check `command`, `env` and mounted volumes in the base job template.',
  },
  unschedulable: {
    category: 'Unschedulable',
    level: 'warning',
    isStuckStart: true,
    resolution: `Add nodes that fit, or change what the pod asks for in the work pool's base job template. ${DESCRIBE_POD}`,
  },
  container_config_error: {
    level: 'error',
    isStuckStart: true,
    resolution:
      'Create the Secret, ConfigMap or key that `env` or `envFrom` of container <container> names in namespace <namespace>, or correct the name in the base job template.',
  },
  container_start_error: {
    level: 'error',
    isStuckStart: true,
    resolution: `Check that \`command\` exists in the image and that securityContext and volume mounts in the base job template suit it. ${DESCRIBE_POD}`,
  },
  volume_mount_error: {
    level: 'error',
    isStuckStart: true,
    resolution: `Check that every Secret, ConfigMap and PersistentVolumeClaim under volumes in the base job template exists in namespace <namespace> and is not in use on another node. ${DESCRIBE_POD}`,
  },
  pod_creation_failed: {
    level: 'error',
    isStuckStart: true,
    resolution: `Something refuses the pod: a quota, an admission webhook or a policy. ${DESCRIBE_JOB}`,
  },
  init_container_failed: {
    level: 'error',
    isStuckStart: false,
    resolution: `The flow never started. ${LOGS} Correct initContainers in the base job template.`,
  },
  deadline_exceeded: {
    level: 'error',
    isStuckStart: false,
    resolution:
      "Raise or remove activeDeadlineSeconds in the work pool's base job template, or make the flow faster.",
  },
  pod_failure_policy: {
    level: 'error',
    isStuckStart: false,
    resolution:
      'Mend what killed the pod; where it deserves another try, change the FailJob rule of podFailurePolicy in the base job template.',
  },
  backoff_limit_exceeded: {
    level: 'error',
    isStuckStart: false,
    resolution: `The pods are gone and with them the reason. Keep them longer (\`finished_job_ttl\`), or raise \`backoff_limit\`. ${DESCRIBE_JOB}`,
  },
  job_deleted: {
    level: 'warning',
    isStuckStart: false,
    resolution:
      'Find who deletes Jobs (audit log: `delete jobs <job>`): a person, a clean-up, another controller. To stop a run, cancel it in Prefect; `finished_job_ttl` removes only Jobs that have finished.',
  },
  pod_deleted: {
    level: 'warning',
    isStuckStart: false,
    resolution:
      'Find who deletes pods (audit log: `delete pods <pod>`). With `backoff_limit` above 0 Kubernetes replaces a deleted pod. To stop a run, cancel it in Prefect.',
  },
  exited_without_reporting: {
    level: 'error',
    isStuckStart: false,
    resolution: `The process ended well and Prefect never heard how the run ended: look for errors of the connection to the Prefect API, or a \`command\` that does not run the flow. ${LOGS}`,
  },
  error_exit: {
    level: 'error',
    isStuckStart: false,
    resolution: `\`prefect flow-run execute\` exits with 0 even when the flow fails, so the flow could not be run or its end could not be reported. ${LOGS}`,
  },
  unknown: {
    level: 'error',
    isStuckStart: false,
    resolution: `Nothing that is left explains it. ${DESCRIBE_JOB}`,
  },
}

/** Whether a code can be a stuck start: the codes a grace may be set for. */
export const isStuckStartCode = (code: DiagnosisCode): boolean => CATALOGUE[code].isStuckStart
