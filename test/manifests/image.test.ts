import { execFile } from 'node:child_process'
import { access, glob, readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import t from 'tap'
import { z } from 'zod'
import { VARIABLES } from '../../src/config/variables.ts'
import { only, renderOurs } from './render.ts'

/** The Dockerfile against what it copies, what runs in it, and what the manifests say of it. Nothing is built here. */

// Where there is no kubectl, kustomize is built first.
t.setTimeout(600_000)

const ROOT = new URL('../../', import.meta.url)
const read = (path: string): Promise<string> => readFile(new URL(path, ROOT), 'utf8')

const packageSchema = z.object({
  name: z.string(),
  version: z.string(),
  license: z.string(),
  description: z.string(),
  engines: z.object({ node: z.string() }),
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()),
})
const bomSchema = z.object({
  bomFormat: z.literal('CycloneDX'),
  components: z.array(z.looseObject({ 'bom-ref': z.string(), name: z.string(), purl: z.string() })),
})
const lockSchema = z.object({
  packages: z.record(z.string(), z.looseObject({ dev: z.boolean().optional() })),
})
const { name, version, license, description, engines, dependencies, devDependencies } = packageSchema.parse(
  JSON.parse(await read('package.json')),
)

/** Instructions with their arguments, continued lines joined. */
const instructions = (await read('Dockerfile'))
  .replaceAll('\\\n', ' ')
  .split('\n')
  .map(line => /^([A-Z]+)\s+(.*)$/.exec(line))
  .flatMap(match => (match ? [{ instruction: match[1] ?? '', rest: (match[2] ?? '').trim() }] : []))
const all = (instruction: string): readonly string[] =>
  instructions.filter(each => each.instruction === instruction).map(({ rest }) => rest)

const copies = all('COPY').map(rest => {
  const words = rest.split(/\s+/)
  const paths = words.filter(word => !word.startsWith('--'))
  return { from: /--from=(\S+)/.exec(rest)?.[1], sources: paths.slice(0, -1), to: paths.at(-1) }
})
const copiedFromHere = [
  ...new Set(copies.filter(({ from }) => from === undefined).flatMap(({ sources }) => sources)),
]

t.test('what is copied from here exists, and .dockerignore lets nothing else in', async t => {
  for (const source of copiedFromHere) await t.resolves(access(new URL(source, ROOT)), source)
  const [first, ...rest] = (await read('.dockerignore'))
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
  t.equal(first, '*')
  t.strictSame(rest.toSorted(), copiedFromHere.map(source => `!${source}`).toSorted())
})

t.test('stages that are copied from exist', async t => {
  const stages = all('FROM').map(rest => / AS (\S+)$/.exec(rest)?.[1])
  for (const { from } of copies) if (from !== undefined) t.ok(stages.includes(from), from)
  t.ok(
    stages.includes('development') && stages.at(-1) === 'production',
    'the last one is what is built by default',
  )
})

t.test('what the program reads beside src/ is in the image', async t => {
  const read: string[] = []
  for await (const file of glob('src/**/*.ts', { cwd: ROOT })) {
    const text = await readFile(new URL(file, ROOT), 'utf8')
    for (const [, path = ''] of text.matchAll(/new URL\('(\.\.?\/[^']+)', import\.meta\.url\)/g))
      read.push(new URL(path, new URL(file, ROOT)).href.slice(ROOT.href.length))
  }
  // `dev` alone, on a developer's machine, makes its certificates there.
  const beside = read.filter(path => !path.startsWith('src/') && path !== 'certs/')
  t.not(beside.length, 0, 'there is something')
  for (const path of beside)
    t.ok(
      copiedFromHere.some(source => path.startsWith(source)),
      path,
    )
})

t.test('development packages stay out, scripts of packages do not run', async t => {
  const installs = all('RUN').filter(rest => rest.includes('npm '))
  t.equal(installs.length, 1)
  t.match(installs[0], /^npm ci --omit=dev --ignore-scripts /)
})

t.test('one Node, one version, one licence', async t => {
  const major = /\d+/.exec(engines.node)?.[0]
  for (const from of all('FROM')) t.match(from, new RegExp(`(node:|nodejs)${major}-`))
  t.match(devDependencies['node'], new RegExp(`^${major}\\.`))
  const [label = ''] = all('LABEL')
  const labels = Object.fromEntries(
    [...label.matchAll(/([\w.]+)="([^"]*)"/g)].map(([, key, value]) => [key, value]),
  )
  t.match(labels, {
    'org.opencontainers.image.title': name,
    'org.opencontainers.image.version': version,
    'org.opencontainers.image.licenses': license,
    'org.opencontainers.image.description': description,
  })
  t.match(all('FROM').at(-1), labels['org.opencontainers.image.base.name'])
})

const deploymentSchema = z.object({
  spec: z.object({
    template: z.object({
      spec: z.object({
        securityContext: z.object({ runAsUser: z.number(), runAsGroup: z.number() }),
        containers: z.tuple([
          z.object({
            image: z.string(),
            args: z.array(z.string()),
            ports: z.array(z.object({ name: z.string(), containerPort: z.number() })),
          }),
        ]),
      }),
    }),
  }),
})

const billOfMaterials = async (): Promise<string> =>
  (await promisify(execFile)(process.execPath, ['scripts/sbom.ts'], { cwd: ROOT })).stdout

t.test('the bill of materials names every package of the image, and no other', async t => {
  const text = await billOfMaterials()
  t.equal(await billOfMaterials(), text, 'the same every time')
  const { components } = bomSchema.parse(JSON.parse(text))
  const { packages } = lockSchema.parse(JSON.parse(await read('package-lock.json')))
  const shipped = Object.keys(packages).filter(path => path !== '' && packages[path]?.dev !== true)
  t.strictSame(components.map(component => component['bom-ref']).toSorted(), shipped.toSorted())
  const names = new Set(components.map(component => component.name))
  for (const dependency of Object.keys(dependencies)) t.ok(names.has(dependency), dependency)
  for (const tool of ['tap', 'typescript', 'oxlint', 'node']) t.notOk(names.has(tool), tool)
})

t.test('the Deployment runs this image as it is made', async t => {
  const { spec } = deploymentSchema.parse(only(await renderOurs('base'), 'Deployment')).spec.template
  const [{ image, args, ports }] = spec.containers
  t.equal(image, `${name}:${version}`)
  const users = all('USER')
  t.equal(users.length, 2, 'of both targets')
  for (const user of users)
    t.equal(user, `${spec.securityContext.runAsUser}:${spec.securityContext.runAsGroup}`)
  const exposed = all('EXPOSE').join(' ')
  t.equal(exposed, ports.map(({ containerPort }) => containerPort).join(' '))
  t.equal(
    exposed,
    `${VARIABLES.LIFEGUARD_ADMISSION_PORT.preset} ${VARIABLES.LIFEGUARD_OPERATIONS_PORT.preset}`,
  )
  const [node, ...start] = z.array(z.string()).parse(JSON.parse(all('ENTRYPOINT').at(-1) ?? ''))
  t.equal(node, '/nodejs/bin/node')
  const { stdout } = await promisify(execFile)(process.execPath, [...start, ...args, '--help'], { cwd: ROOT })
  t.match(stdout, `Usage: ${name} ${args.join(' ')} `)
  t.same(JSON.parse(all('CMD').at(-1) ?? ''), args, 'and by default the same')
})
