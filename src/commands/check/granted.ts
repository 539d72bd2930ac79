import { readFile } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import type { Config } from '../../config.ts'

/** The rights as they are granted: the single source. */
const MANIFEST = new URL('../../../manifests/base/rbac.yaml', import.meta.url)

/** One right, as the API server is asked about it. */
export interface Right {
  /** The role that grants it. */
  readonly role: string
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly name?: string
  /** Absent: in the whole cluster. */
  readonly namespace?: string
}

const roleSchema = z.object({
  kind: z.enum(['Role', 'ClusterRole']),
  metadata: z.object({ name: z.string() }),
  rules: z.array(
    z.object({
      apiGroups: z.array(z.string()),
      resources: z.array(z.string()),
      resourceNames: z.array(z.string()).optional(),
      verbs: z.array(z.string()),
    }),
  ),
})

type Role = z.infer<typeof roleSchema>

/** Under which name everything is installed by the manifests. */
const INSTALLED = 'prefect-lifeguard'

/** The role that is bound where the runs are: everywhere, or in the namespaces that are watched. */
const RUNS = 'prefect-lifeguard-runs'

/** Not needed where somebody else renews the certificates. */
const CERTIFICATES = 'prefect-lifeguard-certificates'

/** Every right that an installation with these settings needs, one by one, as manifests/base/rbac.yaml grants them. */
export async function rightsFor(config: Config): Promise<readonly Right[]> {
  const documents = parseAllDocuments(await readFile(MANIFEST, 'utf8'))
  const roles = documents.flatMap(document => roleSchema.safeParse(document.toJS()).data ?? [])
  return roles
    .filter(({ metadata }) => config.admission.certificateDir === undefined || metadata.name !== CERTIFICATES)
    .flatMap(role => rightsOf(role, config))
}

const rightsOf = (role: Role, config: Config): readonly Right[] =>
  role.rules.flatMap(({ apiGroups, resources, resourceNames = [], verbs }) =>
    product([apiGroups, resources, verbs, placesOf(role, config), namesOf(resourceNames, config)]).map(
      choice => rightOf(role.metadata.name, choice),
    ),
  )

function rightOf(role: string, [group = '', path = '', verb = '', namespace, name]: Choice): Right {
  const [resource = '', subresource] = path.split('/')
  return {
    role,
    verb,
    group,
    resource,
    ...(subresource !== undefined && { subresource }),
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
  }
}

type Choice = readonly (string | undefined)[]

/** Every combination of one of each. */
const product = (choices: readonly Choice[]): readonly Choice[] =>
  choices.reduce<readonly Choice[]>(
    (some, choice) => some.flatMap(one => choice.map(value => [...one, value])),
    [[]],
  )

function placesOf({ kind, metadata }: Role, { namespace, namespaces }: Config): Choice {
  if (kind === 'Role') return [namespace]
  return metadata.name === RUNS && namespaces.length > 0 ? namespaces : [undefined]
}

/** Named after our Service, whatever that is called here. */
const namesOf = (names: readonly string[], { service }: Config): Choice =>
  names.length === 0 ? [undefined] : names.map(name => name.replace(INSTALLED, service))

/** For people: `patch jobs.batch`, `get secrets/prefect-lifeguard-ca in prefect-lifeguard`. */
export function rightInWords({ verb, group, resource, subresource, name, namespace }: Right): string {
  const what = `${resource}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`
  const which = name === undefined ? '' : ` ${name}`
  return `${verb} ${what}${which}${namespace === undefined ? '' : ` in ${namespace}`}`
}
