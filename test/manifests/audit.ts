import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import type { Manifest } from './render.ts'

/** One request of the service account, as the API server's audit log tells of it. */
export interface Use {
  readonly verb: string
  readonly group: string
  /** With its subresource: `pods/log`. */
  readonly resource: string
  /** Empty: of the whole cluster. */
  readonly namespace: string
  readonly name: string
  readonly code: number
}

const eventSchema = z.object({
  verb: z.string(),
  requestURI: z.string(),
  objectRef: z
    .object({
      apiGroup: z.string().default(''),
      resource: z.string().default(''),
      subresource: z.string().optional(),
      namespace: z.string().default(''),
      name: z.string().default(''),
    })
    .optional(),
  responseStatus: z.object({ code: z.number().default(0) }).optional(),
})

/** The flags that have the API server write down every request of a user, and of nobody else, and where it does. */
export async function auditOf(
  user: string,
  folder: string,
): Promise<{ readonly flags: readonly string[]; readonly file: string }> {
  const policy = join(folder, 'audit-policy.json')
  const file = join(folder, 'audit.log')
  await writeFile(
    policy,
    JSON.stringify({
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      omitStages: ['RequestReceived'],
      rules: [{ level: 'Metadata', users: [user] }, { level: 'None' }],
    }),
  )
  return { flags: [`--audit-policy-file=${policy}`, `--audit-log-path=${file}`], file }
}

export async function usesIn(file: string): Promise<readonly Use[]> {
  const lines = (await readFile(file, 'utf8')).split('\n').filter(line => line !== '')
  return lines.map(line => {
    const { verb, requestURI, objectRef, responseStatus } = eventSchema.parse(JSON.parse(line))
    if (!objectRef)
      return {
        verb,
        group: '',
        resource: requestURI,
        namespace: '',
        name: '',
        code: responseStatus?.code ?? 0,
      }
    const { apiGroup, resource, subresource, namespace, name } = objectRef
    return {
      verb,
      group: apiGroup,
      resource: subresource === undefined ? resource : `${resource}/${subresource}`,
      namespace,
      name,
      code: responseStatus?.code ?? 0,
    }
  })
}

/** One right: a verb on a resource, of one name where RBAC names it. */
export interface Right {
  readonly role: string
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly name: string | undefined
  /** Of a Role; undefined: wherever it is bound. */
  readonly namespace: string | undefined
}

const rulesSchema = z.object({
  rules: z.array(
    z.strictObject({
      apiGroups: z.array(z.string()),
      resources: z.array(z.string()),
      resourceNames: z.array(z.string()).optional(),
      verbs: z.array(z.string()),
    }),
  ),
})

/** Every right of every Role and ClusterRole, one by one. */
export const rightsOf = (manifests: readonly Manifest[]): readonly Right[] =>
  manifests
    .filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole')
    .flatMap(manifest => {
      const { name: role, namespace } = manifest.metadata
      return rulesSchema
        .parse(manifest)
        .rules.flatMap(({ apiGroups, resources, resourceNames = [undefined], verbs }) =>
          apiGroups.flatMap(group =>
            resources.flatMap(resource =>
              resourceNames.flatMap(name =>
                verbs.map(verb => ({ role, verb, group, resource, name, namespace })),
              ),
            ),
          ),
        )
    })

/** Whether the right is what allows the request. */
export const covers = (right: Right, use: Use): boolean =>
  right.verb === use.verb &&
  right.group === use.group &&
  right.resource === use.resource &&
  (right.name ?? use.name) === use.name &&
  (right.namespace ?? use.namespace) === use.namespace

/** For people: `patch jobs.batch`, `get secrets/prefect-lifeguard-ca`. */
export const wordsOf = ({
  verb,
  group,
  resource,
  name,
}: Pick<Use, 'verb' | 'group' | 'resource'> & { name?: string | undefined }): string =>
  `${verb} ${resource}${group === '' ? '' : `.${group}`}${name === undefined || name === '' ? '' : ` ${name}`}`
