import type { Answer, Ask } from '../admission/on-cluster.ts'
import type { Manifest } from './render.ts'

/** Kinds that belong to the whole cluster. */
const CLUSTER_WIDE = new Set([
  'Namespace',
  'ClusterRole',
  'ClusterRoleBinding',
  'PriorityClass',
  'MutatingWebhookConfiguration',
  'ValidatingWebhookConfiguration',
  'ValidatingAdmissionPolicy',
  'ValidatingAdmissionPolicyBinding',
])

/** Kinds of the Prometheus operator and of cert-manager, which the API server itself does not know. */
export const isOfOperator = ({ apiVersion }: Manifest): boolean =>
  /^(monitoring\.coreos\.com|cert-manager\.io)\//.test(apiVersion)

export interface ApplyOptions {
  /** Admitted and validated like any other, and not stored. */
  readonly dryRun?: boolean
}

/** `kubectl apply --server-side`; a field that the API server does not know is refused. */
async function apply(ask: Ask, manifest: Manifest, { dryRun = false }: ApplyOptions = {}): Promise<Answer> {
  const query = new URLSearchParams({ fieldManager: 'kubectl', force: 'true', fieldValidation: 'Strict' })
  if (dryRun) query.set('dryRun', 'All')
  return ask({
    method: 'PATCH',
    path: `${pathOf(manifest)}?${query.toString()}`,
    body: manifest,
    contentType: 'application/apply-patch+yaml',
  })
}

/** In order, each of them. @throws with what the API server said of the first that it refused. */
export async function applyAll(
  ask: Ask,
  manifests: readonly Manifest[],
  options: ApplyOptions = {},
): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  for (const manifest of manifests) {
    const answer = await apply(ask, manifest, options)
    if (answer.status >= 300)
      throw new Error(
        `${manifest.kind} ${manifest.metadata.name} was answered ${answer.status}: ${answer.body.message}`,
      )
    answers.push(answer)
  }
  return answers
}

/** Where the API keeps it. */
export function pathOf({ apiVersion, kind, metadata: { name, namespace } }: Manifest): string {
  const group = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  const collection = CLUSTER_WIDE.has(kind) ? '' : `/namespaces/${namespace ?? 'default'}`
  return `${group}${collection}/${pluralOf(kind)}/${name}`
}

function pluralOf(kind: string): string {
  const lower = kind.toLowerCase()
  if (lower.endsWith('y')) return `${lower.slice(0, -1)}ies`
  return lower.endsWith('s') ? `${lower}es` : `${lower}s`
}
