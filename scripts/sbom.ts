import { readFile } from 'node:fs/promises'
import { z } from 'zod'

/**
 * `npm run sbom --silent`: what is in the image beside its base, as CycloneDX 1.5. Made from package-lock.json alone, so
 * that the same lock file gives the same bytes. Not by `npm sbom --omit dev`: npm 11.19 leaves out every package that a
 * development package wants, too (zod and yaml among them).
 */

const packageSchema = z.object({
  name: z.string(),
  version: z.string(),
  license: z.string(),
  description: z.string(),
})

const lockSchema = z.object({
  packages: z.record(
    z.string(),
    z.looseObject({ dev: z.boolean().default(false), devOptional: z.boolean().default(false) }),
  ),
})
const lockedSchema = z.object({ version: z.string(), license: z.string(), integrity: z.string() })

const read = async (file: string): Promise<unknown> =>
  JSON.parse(await readFile(new URL(`../${file}`, import.meta.url), 'utf8'))

const purlOf = (name: string, version: string): string =>
  `pkg:npm/${name.replace('@', '%40')}@${encodeURIComponent(version)}`

/** An SPDX identifier, or an expression such as `(MIT OR CC0-1.0)`. */
const licenseOf = (text: string): object =>
  /[ ()]/.test(text) ? { expression: text } : { license: { id: text } }

/** `sha512-<base64>`, as npm writes it. */
function hashOf(integrity: string): object {
  const [algorithm = '', base64 = ''] = integrity.split('-')
  return {
    alg: algorithm.toUpperCase().replace('SHA', 'SHA-'),
    content: Buffer.from(base64, 'base64').toString('hex'),
  }
}

const self = packageSchema.parse(await read('package.json'))
const { packages } = lockSchema.parse(await read('package-lock.json'))

function componentOf(path: string, { version, license, integrity }: z.infer<typeof lockedSchema>): object {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
  return {
    type: 'library',
    'bom-ref': path,
    name,
    version,
    purl: purlOf(name, version),
    hashes: [hashOf(integrity)],
    licenses: [licenseOf(license)],
  }
}

const components = Object.entries(packages)
  .filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional)
  .map(([path, locked]) => componentOf(path, lockedSchema.parse(locked)))

const component = {
  type: 'application',
  'bom-ref': self.name,
  name: self.name,
  version: self.version,
  description: self.description,
  purl: purlOf(self.name, self.version),
  licenses: [licenseOf(self.license)],
}
const bom = { bomFormat: 'CycloneDX', specVersion: '1.5', version: 1, metadata: { component }, components }
process.stdout.write(`${JSON.stringify(bom, undefined, 2)}\n`)
