import { KubeConfig } from '@kubernetes/client-node'

import { createAccess, type Access } from '../../src/kubernetes/http/access.ts'
import { record, string } from '../../src/kubernetes/parse/fields.ts'
import type { NewObject } from '../cluster/api.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'

/** The administrator's kubeconfig, by way of another address where one is given. */
export function adminConfig({ kubeconfig }: ControlPlane, server?: string): KubeConfig {
  const config = new KubeConfig()
  config.loadFromFile(kubeconfig)
  const cluster = config.getCurrentCluster()
  if (server !== undefined && cluster) config.clusters = [{ ...cluster, server }]
  return config
}

/** Creates objects of any kind as they stand in a manifest. */
export async function create(access: Access, path: string, body: object): Promise<unknown> {
  const signal = AbortSignal.timeout(30_000)
  return access.request({ method: 'POST', path, body, signal, parse: json => json })
}

const RBAC = '/apis/rbac.authorization.k8s.io/v1'

/** An access for a service account of this namespace that may only read Jobs, and only there. */
export async function jobReaderOf(plane: ControlPlane, admin: Access, namespace: string): Promise<Access> {
  await create(admin, '/api/v1/namespaces', { metadata: { name: namespace } })
  await create(admin, `/api/v1/namespaces/${namespace}/serviceaccounts`, { metadata: { name: 'reader' } })
  await create(admin, `${RBAC}/namespaces/${namespace}/roles`, {
    metadata: { name: 'reader' },
    rules: [{ apiGroups: ['batch'], resources: ['jobs'], verbs: ['list', 'watch'] }],
  })
  await create(admin, `${RBAC}/namespaces/${namespace}/rolebindings`, {
    metadata: { name: 'reader' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'reader' },
    subjects: [{ kind: 'ServiceAccount', name: 'reader', namespace }],
  })
  const path = `/api/v1/namespaces/${namespace}/serviceaccounts/reader/token`
  const answer = record(await create(admin, path, { spec: {} }), 'TokenRequest')
  const token = string(record(answer['status'], 'status')['token'], 'status.token')
  const config = adminConfig(plane)
  const { clusters } = config
  const reader = new KubeConfig()
  reader.loadFromOptions({
    clusters,
    users: [{ name: 'reader', token }],
    contexts: [{ name: 'reader', user: 'reader', cluster: clusters[0]?.name }],
    currentContext: 'reader',
  })
  return createAccess({ kubeConfig: reader })
}

export interface JobManifest {
  readonly name: string
  readonly namespace?: string
  readonly labels?: Record<string, string>
}

/**
 * A Job that waits: no pod is made for it. Its template has no labels, as Kubernetes gives a Job that loses its last
 * label those of its template (seen on 1.37), so that it would never leave a selector.
 */
export function suspendedJob({ name, namespace = 'default', labels = {} }: JobManifest): NewObject {
  const metadata = { name, namespace, labels }
  const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'main', image: 'none' }] } }
  return { metadata, spec: { suspend: true, template } }
}
