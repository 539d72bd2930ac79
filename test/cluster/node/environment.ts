import type { Api } from '../api.ts'
import { configMaps, secrets } from '../resources.ts'
import type { Container, Pod } from '../resources.ts'

type EnvVar = NonNullable<Container['env']>[number]
type EnvFrom = NonNullable<Container['envFrom']>[number]
type Volume = Pod['spec']['volumes'][number]
export type Environment = Readonly<Record<string, string>>

/** A container cannot be created as its spec says. The message is the one a kubelet writes. */
export class ContainerConfigError extends Error {
  override readonly name = 'ContainerConfigError'
}

export interface EnvironmentDeps {
  readonly api: Api
  readonly hostIP: string
}

/**
 * The variables a pod's spec gives a container, in its order: `envFrom`, then `env` with `$(NAME)` filled in.
 * @throws ContainerConfigError where it refers to a Secret, ConfigMap or key that is missing and not optional.
 */
export async function environmentOf(
  pod: Pod,
  container: Container,
  deps: EnvironmentDeps,
): Promise<Environment> {
  const variables: Record<string, string> = {}
  for (const source of container.envFrom ?? [])
    Object.assign(variables, await fromSource(pod, source, deps.api))
  for (const variable of container.env ?? []) {
    const value = await valueOf(pod, variable, deps)
    if (value !== undefined) variables[variable.name] = expand(value, variables)
  }
  return variables
}

/** Kubernetes' `$(NAME)`: left as it is where nothing is known under the name; `$$(NAME)` stands for `$(NAME)`. */
export const expand = (text: string, variables: Environment): string =>
  text.replace(/\$\$|\$\(([^)]*)\)/g, (match: string, name: string | undefined) =>
    name === undefined ? '$' : (variables[name] ?? match),
  )

async function fromSource(pod: Pod, source: EnvFrom, api: Api): Promise<Environment> {
  const { prefix = '', configMapRef, secretRef } = source
  const data = {
    ...(configMapRef ? await configMapData(pod, configMapRef, api) : {}),
    ...(secretRef ? await secretData(pod, secretRef, api) : {}),
  }
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [`${prefix}${key}`, value]))
}

async function valueOf(
  pod: Pod,
  { value = '', valueFrom }: EnvVar,
  deps: EnvironmentDeps,
): Promise<string | undefined> {
  if (!valueFrom) return value
  const { fieldRef, secretKeyRef, configMapKeyRef } = valueFrom
  if (fieldRef) return fieldOf(pod, fieldRef.fieldPath, deps.hostIP)
  if (secretKeyRef)
    return keyOf(await secretData(pod, secretKeyRef, deps.api), { pod, kind: 'Secret', ...secretKeyRef })
  if (configMapKeyRef) {
    return keyOf(await configMapData(pod, configMapKeyRef, deps.api), {
      pod,
      kind: 'ConfigMap',
      ...configMapKeyRef,
    })
  }
  // resourceFieldRef: a process has no limits of its own.
  return ''
}

interface Source {
  readonly name: string
  readonly optional?: boolean | undefined
}

interface Key extends Source {
  readonly pod: Pod
  readonly kind: string
  readonly key: string
}

function keyOf(data: Environment, { pod, kind, name, key, optional }: Key): string | undefined {
  const value = data[key]
  if (value !== undefined || optional) return value
  throw new ContainerConfigError(`couldn't find key ${key} in ${kind} ${pod.metadata.namespace}/${name}`)
}

async function secretData(pod: Pod, { name, optional }: Source, api: Api): Promise<Environment> {
  const secret = await api.get(secrets, { namespace: pod.metadata.namespace, name })
  if (!secret && !optional) throw new ContainerConfigError(`secret "${name}" not found`)
  return Object.fromEntries(Object.entries(secret?.data ?? {}).map(([key, value]) => [key, atob(value)]))
}

async function configMapData(pod: Pod, { name, optional }: Source, api: Api): Promise<Environment> {
  const configMap = await api.get(configMaps, { namespace: pod.metadata.namespace, name })
  if (!configMap && !optional) throw new ContainerConfigError(`configmap "${name}" not found`)
  return configMap?.data ?? {}
}

/** The message of the volume that cannot be mounted because its ConfigMap or Secret is missing, if there is one. */
export async function missingVolume(pod: Pod, api: Api): Promise<string | undefined> {
  for (const volume of pod.spec.volumes) {
    const missing = await whatIsMissing(() => readVolume(pod, volume, api))
    if (missing) return `MountVolume.SetUp failed for volume "${volume.name}" : ${missing}`
  }
  return undefined
}

async function readVolume(pod: Pod, { configMap, secret }: Volume, api: Api): Promise<void> {
  if (configMap) await configMapData(pod, configMap, api)
  if (secret) await secretData(pod, { ...secret, name: secret.secretName }, api)
}

async function whatIsMissing(read: () => Promise<void>): Promise<string | undefined> {
  try {
    await read()
    return undefined
  } catch (error) {
    if (error instanceof ContainerConfigError) return error.message
    throw error
  }
}

function fieldOf({ metadata, spec }: Pod, path: string, hostIP: string): string | undefined {
  const [, map, key = ''] = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path) ?? []
  if (map !== undefined) return (map === 'labels' ? metadata.labels : metadata.annotations)?.[key] ?? ''
  const fields: Record<string, string | undefined> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
    'spec.nodeName': spec.nodeName,
    'spec.serviceAccountName': spec.serviceAccountName,
    'status.hostIP': hostIP,
    'status.podIP': hostIP,
  }
  return fields[path]
}
