import { join } from 'node:path'
import type { Guard } from '../guard.ts'
import { waitFor } from './api.ts'
import type { PrefectApi } from './api.ts'
import { startGuardedProcess } from './process.ts'
import type { GuardedProcess } from './process.ts'
import { environmentWith } from './venv.ts'
import type { Venv } from './venv.ts'

export interface WorkerOptions {
  /** Path of the kubeconfig of the cluster that gets the Jobs. */
  readonly kubeconfig: string
  readonly workPool?: string
  readonly name?: string
  /** Run Prefect's own observer too; off unless true. */
  readonly observer?: boolean
  /** More settings of the worker; those of Prefect itself (PREFECT_API_URL, ...) go on to the pods it creates. */
  readonly env?: Readonly<Record<string, string>>
}

export interface WorkerDeps {
  readonly venv: Venv
  readonly api: PrefectApi
  readonly env: Readonly<Record<string, string>>
  readonly guard: Guard
  /** For the log. */
  readonly folder: string
}

/** Name of the work pool, and of the deployments in it, where none is given. */
export const WORK_POOL = 'kubernetes'

/**
 * Starts `prefect worker start --type kubernetes` and waits until the server knows it as online.
 * The work pool must exist, else the worker makes one with prefect-kubernetes' own template; two workers need two names.
 * @throws with the end of its log if it ends or does not come online.
 */
export async function startWorker(deps: WorkerDeps, options: WorkerOptions): Promise<GuardedProcess> {
  const { workPool = WORK_POOL, name = 'worker' } = options
  const worker = await startGuardedProcess(deps.guard, {
    name: `prefect worker ${name}`,
    command: [
      join(deps.venv.bin, 'prefect'),
      ...`worker start --type kubernetes --install-policy never --pool ${workPool} --name ${name}`.split(' '),
    ],
    env: environmentWith(deps.venv, {
      ...deps.env,
      KUBECONFIG: options.kubeconfig,
      // 10 s by default: most of a test would be waiting.
      PREFECT_WORKER_QUERY_SECONDS: '2',
      PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ENABLED: String(options.observer ?? false),
      ...options.env,
    }),
    cwd: deps.folder,
    log: join(deps.folder, `worker-${name}.log`),
  })
  const isOnline = async () => {
    if (!worker.running()) throw new Error('it ended')
    return (await deps.api.readWorkers(workPool)).includes(name) ? true : undefined
  }
  try {
    await waitFor('the worker to be online', isOnline)
    return worker
  } catch (cause) {
    await worker.stop()
    const error = await worker.failure(`the Prefect worker ${name} did not come online`)
    error.cause = cause
    throw error
  }
}

export interface PodDefaults {
  /** Environment of the containers; a run's own `env` is merged into it. */
  readonly env: Readonly<Record<string, string>>
  readonly image: string
}

/**
 * Base job template of a Kubernetes work pool. Beyond prefect-kubernetes' own it has variables for all that decides how
 * a Job ends, so that a test can choose them for a run (`jobVariables`).
 */
export function baseJobTemplate(defaults: PodDefaults): Record<string, unknown> {
  return {
    job_configuration: {
      ...Object.fromEntries(WORKER_FIELDS.map(name => [name, placeholder(name)])),
      job_manifest: jobManifest(),
    },
    variables: {
      type: 'object',
      properties: {
        ...Object.fromEntries(UNSET_VARIABLES.map(name => [name, { default: null }])),
        env: { type: 'object', default: defaults.env },
        image: { type: 'string', default: defaults.image },
        labels: { type: 'object', default: {} },
        annotations: { type: 'object', default: {} },
        pod_labels: { type: 'object', default: {} },
        pod_annotations: { type: 'object', default: {} },
        namespace: { type: 'string', default: 'default' },
        backoff_limit: { type: 'integer', default: 0 },
        image_pull_policy: { type: 'string', default: 'IfNotPresent' },
        stream_output: { type: 'boolean', default: false },
        pod_watch_timeout_seconds: { type: 'integer', default: 60 },
      },
    },
  }
}

/** What the worker reads for itself, or puts into the manifest. */
const WORKER_FIELDS = [
  'name',
  'command',
  'env',
  'labels',
  'annotations',
  'namespace',
  'cluster_config',
  'stream_output',
  'job_watch_timeout_seconds',
  'pod_watch_timeout_seconds',
]

/** Null means absent to kube-apiserver. */
const UNSET_VARIABLES = [
  'name',
  'command',
  'cluster_config',
  'job_watch_timeout_seconds',
  'finished_job_ttl',
  'active_deadline_seconds',
  'pod_failure_policy',
  'pod_replacement_policy',
  'suspend',
  'service_account_name',
  'termination_grace_period_seconds',
  'node_selector',
  'tolerations',
  'init_containers',
  'volumes',
  'volume_mounts',
  'env_from',
  'resources',
]

function placeholder(name: string): string {
  return `{{ ${name} }}`
}

function jobManifest() {
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: {
      generateName: `${placeholder('name')}-`,
      namespace: placeholder('namespace'),
      labels: placeholder('labels'),
      annotations: placeholder('annotations'),
    },
    spec: {
      backoffLimit: placeholder('backoff_limit'),
      activeDeadlineSeconds: placeholder('active_deadline_seconds'),
      podFailurePolicy: placeholder('pod_failure_policy'),
      podReplacementPolicy: placeholder('pod_replacement_policy'),
      ttlSecondsAfterFinished: placeholder('finished_job_ttl'),
      suspend: placeholder('suspend'),
      template: {
        metadata: { labels: placeholder('pod_labels'), annotations: placeholder('pod_annotations') },
        spec: podSpec(),
      },
    },
  }
}

function podSpec() {
  return {
    // No fields of a pod, but prefect-kubernetes refuses a manifest without them; kube-apiserver drops them.
    parallelism: 1,
    completions: 1,
    // The only policy prefect-kubernetes accepts.
    restartPolicy: 'Never',
    automountServiceAccountToken: false,
    serviceAccountName: placeholder('service_account_name'),
    terminationGracePeriodSeconds: placeholder('termination_grace_period_seconds'),
    nodeSelector: placeholder('node_selector'),
    tolerations: placeholder('tolerations'),
    initContainers: placeholder('init_containers'),
    volumes: placeholder('volumes'),
    containers: [
      {
        name: 'prefect-job',
        image: placeholder('image'),
        imagePullPolicy: placeholder('image_pull_policy'),
        args: placeholder('command'),
        env: placeholder('env'),
        envFrom: placeholder('env_from'),
        resources: placeholder('resources'),
        volumeMounts: placeholder('volume_mounts'),
      },
    ],
  }
}
