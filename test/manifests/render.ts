import { execFile } from 'node:child_process'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parseAllDocuments, stringify } from 'yaml'
import { z } from 'zod'

const manifestSchema = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({
    name: z.string(),
    namespace: z.string().optional(),
    labels: z.record(z.string(), z.string()).optional(),
    annotations: z.record(z.string(), z.string()).optional(),
  }),
})

/** Any object, as it would be applied. */
export type Manifest = z.infer<typeof manifestSchema>

/** `manifests/` with its last slash. */
export const MANIFESTS = new URL('../../manifests/', import.meta.url)

/** What renders where there is no kubectl. */
const KUSTOMIZE = 'sigs.k8s.io/kustomize/kustomize/v5@v5.7.1'

/**
 * What `kubectl apply -k` would apply: by kubectl where it is installed, because that is how people install, else by
 * kustomize of a fixed version, built by Go on first use (a minute or three).
 * @throws with what kustomize said where a folder cannot be rendered.
 */
export async function render(folder: URL | string): Promise<readonly Manifest[]> {
  const path = folder instanceof URL ? fileURLToPath(folder) : folder
  const yaml = (await run('kubectl', ['kustomize', path])) ?? (await kustomize(path))
  return parseAllDocuments(yaml).map(document => manifestSchema.parse(document.toJS()))
}

/** Of one of our own folders, such as `base`. */
export const renderOurs = (folder: string): Promise<readonly Manifest[]> => render(new URL(folder, MANIFESTS))

/** The base with components, as users add them: in a kustomization of their own, here in a new folder under `folder`. */
export async function renderWith(
  folder: string,
  ...components: readonly string[]
): Promise<readonly Manifest[]> {
  const here = join(folder, components.join('-and-'))
  await mkdir(here, { recursive: true })
  const path = (to: string): string => relative(here, fileURLToPath(new URL(to, MANIFESTS)))
  const kustomization = {
    resources: [path('base')],
    components: components.map(name => path(`components/${name}`)),
  }
  await writeFile(join(here, 'kustomization.yaml'), stringify(kustomization))
  return render(here)
}

async function kustomize(path: string): Promise<string> {
  const yaml = await run('go', ['run', KUSTOMIZE, 'build', path])
  if (yaml === undefined) throw new Error('rendering manifests takes kubectl or Go, and neither was found')
  return yaml
}

/** `undefined` where there is no such program. */
async function run(program: string, args: readonly string[]): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(program, args, {
      maxBuffer: 16 * 1024 * 1024,
      env: { ...process.env, CGO_ENABLED: '0', GOFLAGS: '-mod=mod', GOWORK: 'off' },
    })
    return stdout
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

/** The object of this kind and name; the kind alone will do where there is one of it. */
export function only(manifests: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = manifests.filter(
    ({ kind: itsKind, metadata }) => itsKind === kind && (name === undefined || metadata.name === name),
  )
  const [first] = found
  if (!first || found.length > 1)
    throw new Error(`${found.length} objects of kind ${kind} ${name ?? ''}: one was expected`)
  return first
}
