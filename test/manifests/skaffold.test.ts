import { execFile, spawn } from 'node:child_process'
import { on } from 'node:events'
import { access, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join, matchesGlob } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import type { Manifest } from './render.ts'
import { only, render } from './render.ts'

/**
 * skaffold.yaml against the files and objects it names. Its own schema
 * (GoogleContainerTools/skaffold, docs-v2/content/en/schemas/v4beta13.json) is a quarter of a megabyte and stays out;
 * what is used of it is here, and nothing else is let through.
 */

// Where there is no kubectl, kustomize is built first.
t.setTimeout(600_000)

const ROOT = new URL('../../', import.meta.url)

const localBuild = z.strictObject({
  local: z.strictObject({ push: z.boolean(), useBuildkit: z.boolean() }),
})
const configSchema = z.strictObject({
  apiVersion: z.literal('skaffold/v4beta13'),
  kind: z.literal('Config'),
  metadata: z.strictObject({ name: z.string() }),
  build: z
    .strictObject({
      artifacts: z.array(
        z.strictObject({
          image: z.string(),
          docker: z.strictObject({ dockerfile: z.string(), target: z.string() }),
          sync: z.strictObject({
            manual: z.array(z.strictObject({ src: z.string(), dest: z.string() })),
          }),
        }),
      ),
    })
    .default({ artifacts: [] }),
  manifests: z.strictObject({ kustomize: z.strictObject({ paths: z.array(z.string()) }) }),
  deploy: z.strictObject({ kubectl: z.strictObject({}) }),
  portForward: z.array(
    z.strictObject({
      resourceType: z.literal('service'),
      resourceName: z.string(),
      namespace: z.string(),
      port: z.number(),
      localPort: z.number(),
    }),
  ),
  profiles: z
    .array(
      z.strictObject({
        name: z.string(),
        activation: z.array(z.strictObject({ kubeContext: z.string() })).optional(),
        build: localBuild,
      }),
    )
    .default([]),
})

const read = (path: string): Promise<string> => readFile(new URL(path, ROOT), 'utf8')
const configs = parseAllDocuments(await read('skaffold.yaml')).map(document =>
  configSchema.parse(document.toJS()),
)
const rendered = async (paths: readonly string[]): Promise<readonly Manifest[]> =>
  (await Promise.all(paths.map(path => render(new URL(path, ROOT))))).flat()

t.strictSame(
  configs.map(({ metadata }) => metadata.name),
  ['prefect-lifeguard', 'playground'],
  'the modules',
)
t.strictSame(
  configs[0]?.profiles.map(({ name }) => name),
  ['kind', 'remote'],
  'the profiles',
)

const serviceSchema = z.object({ spec: z.object({ ports: z.array(z.object({ port: z.number() })) }) })
const podSchema = z.object({
  spec: z.object({
    template: z.object({ spec: z.object({ containers: z.array(z.object({ image: z.string() })) }) }),
  }),
})

for (const { metadata, build, manifests, portForward } of configs)
  t.test(`module ${metadata.name}`, async t => {
    const objects = await rendered(manifests.kustomize.paths)
    for (const { resourceName, namespace, port } of portForward) {
      const service = only(objects, 'Service', resourceName)
      t.equal(service.metadata.namespace, namespace)
      t.ok(
        serviceSchema.parse(service).spec.ports.some(each => each.port === port),
        `Service ${resourceName} has port ${port}`,
      )
    }
    const containers = objects
      .filter(({ kind }) => kind === 'Deployment')
      .flatMap(object => podSchema.parse(object).spec.template.spec.containers)
    const images = new Set(containers.map(({ image }) => image.replace(/:[^/]*$/, '')))
    for (const { image, docker, sync } of build.artifacts) {
      t.ok(images.has(image), `image ${image} is deployed`)
      await t.resolves(access(new URL(docker.dockerfile, ROOT)), docker.dockerfile)
      t.match(await read(docker.dockerfile), new RegExp(`^FROM \\S+ AS ${docker.target}$`, 'm'))
      for (const { src } of sync.manual)
        t.ok(matchesGlob('src/observer/observer.ts', src), `${src} is what changes`)
    }
  })

t.test('a changed file lands where Node watches it', async t => {
  const { artifacts } = configs[0]?.build ?? { artifacts: [] }
  const dockerfile = await read('Dockerfile')
  const stage = dockerfile.slice(dockerfile.indexOf(`AS ${artifacts[0]?.docker.target}`)).split('\nFROM ')[0]
  // Relative to the working directory, as the program is.
  t.equal(artifacts[0]?.sync.manual[0]?.dest, '.')
  t.match(stage, /^WORKDIR \/app$/m)
  t.match(stage, /^COPY --chown=65532:65532 src \.\/src$/m, 'whose owner is who runs it')
  t.match(stage, /^ENV TAR_OPTIONS=--overwrite$/m, 'and who is watched after a change, too')
  const overlay = await rendered(['manifests/overlays/development'])
  t.match(only(overlay, 'Deployment'), {
    spec: {
      template: {
        spec: {
          containers: [
            {
              command: ['node', '--watch', '--watch-preserve-output', 'src/main.ts'],
              args: ['serve'],
              securityContext: { readOnlyRootFilesystem: false },
            },
          ],
        },
      },
    },
  })
})

const run = promisify(execFile)

t.test('put in place as skaffold does it, a file is seen to change again and again', async t => {
  const folder = t.testdir({
    container: { src: { 'main.mjs': "console.log('was 0')\nsetInterval(() => {}, 1e6)" } },
  })
  const container = join(folder, 'container')
  const node = spawn(process.execPath, ['--watch', '--watch-preserve-output', 'src/main.mjs'], {
    cwd: container,
  })
  t.teardown(() => node.kill())
  const said = on(createInterface({ input: node.stdout }), 'line')
  const untilItSays = async (text: string): Promise<void> => {
    for await (const [line] of said) if (line === text) return
  }
  await untilItSays('was 0')
  for (const time of [1, 2, 3]) {
    const changed = join(folder, String(time))
    await mkdir(join(changed, 'src'), { recursive: true })
    await writeFile(join(changed, 'src/main.mjs'), `console.log('was ${time}')\nsetInterval(() => {}, 1e6)`)
    await run('tar', ['cf', join(folder, 'changed.tar'), '-C', changed, 'src/main.mjs'])
    // The command of GoogleContainerTools/skaffold, pkg/skaffold/kubernetes/sync, with the variable of our image.
    const env = { ...process.env, TAR_OPTIONS: '--overwrite' }
    await run('tar', ['xmf', join(folder, 'changed.tar'), '-C', container, '--no-same-owner'], { env })
    await untilItSays(`was ${time}`)
    t.pass(`change ${time}`)
  }
})
