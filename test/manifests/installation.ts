import { z } from 'zod'
import type { Ask } from '../admission/on-cluster.ts'
import type { ControlPlane } from '../cluster/control-plane.ts'
import { writeKubeconfig } from '../cluster/credentials.ts'
import { findFreePort } from '../cluster/ports.ts'
import { applyAll } from './apply.ts'
import { only } from './render.ts'
import type { Manifest } from './render.ts'

export const NAMESPACE = 'prefect-lifeguard'
const SERVICE_ACCOUNT = 'prefect-lifeguard'
export const USERNAME = `system:serviceaccount:${NAMESPACE}:${SERVICE_ACCOUNT}`

export interface Installation {
  /** Where the API server expects admission. */
  readonly admissionPort: number
  readonly operationsPort: number
  /** What a container of the Deployment would have in its environment. */
  readonly env: Readonly<Record<string, string>>
}

/**
 * Applies everything but the Deployment, whose place the caller takes with a process of this machine: the Service
 * leads to localhost, for there is no network between pods here.
 */
export async function install(
  { ask, controlPlane, folder }: { ask: Ask; controlPlane: ControlPlane; folder: string },
  manifests: readonly Manifest[],
): Promise<Installation> {
  const admissionPort = await findFreePort()
  const operationsPort = await findFreePort()
  const applied = manifests
    .filter(({ kind }) => kind !== 'Deployment')
    .map(manifest => onThisMachine(manifest, admissionPort))
  await applyAll(ask, applied)
  const kubeconfig = await writeKubeconfig(folder, {
    server: controlPlane.server,
    ca: controlPlane.ca,
    token: await tokenOf(ask),
  })
  return {
    admissionPort,
    operationsPort,
    env: {
      ...environmentOf(manifests),
      HOME: folder,
      KUBECONFIG: kubeconfig,
      LIFEGUARD_HOST: 'localhost',
      LIFEGUARD_ADMISSION_PORT: String(admissionPort),
      LIFEGUARD_OPERATIONS_PORT: String(operationsPort),
      LIFEGUARD_DRAIN: '0s',
    },
  }
}

/** Kubernetes resolves a Service of type ExternalName for webhooks too, but with the port of the registration. */
function onThisMachine(manifest: Manifest, port: number): Manifest {
  if (manifest.kind === 'Service')
    return { ...manifest, spec: { type: 'ExternalName', externalName: 'localhost' } }
  const { success, data } = registrationSchema.safeParse(manifest)
  if (!success) return manifest
  for (const { clientConfig } of data.webhooks) Object.assign(clientConfig.service, { port })
  return { ...manifest, webhooks: data.webhooks }
}

const registrationSchema = z.looseObject({
  webhooks: z.array(z.looseObject({ clientConfig: z.object({ service: z.looseObject({}) }) })),
})

/** As kubelet would mount it into a pod. */
async function tokenOf(ask: Ask): Promise<string> {
  const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${SERVICE_ACCOUNT}/token`
  const { body } = await ask({ method: 'POST', path, body: { spec: { expirationSeconds: 3600 } } })
  return z.object({ status: z.object({ token: z.string() }) }).parse(body).status.token
}

const deploymentSchema = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        containers: z.tuple([
          z.object({
            env: z.array(
              z.object({
                name: z.string(),
                value: z.string().optional(),
                valueFrom: z.object({ fieldRef: z.object({ fieldPath: z.string() }) }).optional(),
              }),
            ),
            envFrom: z.array(z.object({ configMapRef: z.object({ name: z.string() }).optional() })),
          }),
        ]),
      }),
    }),
  }),
})

const FIELDS: Readonly<Record<string, string>> = {
  'metadata.name': 'prefect-lifeguard-0',
  'metadata.namespace': NAMESPACE,
}

/** The environment of the Deployment's container: ConfigMap, values, and fields of the pod. */
export function environmentOf(manifests: readonly Manifest[]): Record<string, string> {
  const [container] = deploymentSchema.parse(only(manifests, 'Deployment')).spec.template.spec.containers
  const fromMaps = container.envFrom.flatMap(({ configMapRef }) =>
    configMapRef ? Object.entries(dataOf(only(manifests, 'ConfigMap', configMapRef.name))) : [],
  )
  const own = container.env.map(({ name, value, valueFrom }) => {
    const text = value ?? FIELDS[valueFrom?.fieldRef.fieldPath ?? '']
    if (text === undefined) throw new Error(`${name}: where its value comes from is not known to this test`)
    return [name, text] as const
  })
  return Object.fromEntries([...fromMaps, ...own])
}

const dataOf = (manifest: Manifest): Record<string, string> =>
  z.object({ data: z.record(z.string(), z.string()) }).parse(manifest).data
