import { randomUUID, X509Certificate } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createAuthority, isValidAt, readKeyPair, renewalTime, signLeaf } from './authority.ts'
import type { KeyPair } from './authority.ts'

export interface LocalCertificates {
  /** The server's pair, PEM. */
  readonly cert: string
  readonly key: string
  readonly caCertificate: string
  /** `caCertificate` in base64, as `clientConfig.caBundle` wants it. */
  readonly caBundle: string
  readonly notAfter: Date
}

export interface LocalOptions {
  readonly now?: () => Date
  readonly dnsNames?: readonly string[]
  readonly ipAddresses?: readonly string[]
}

interface Names {
  readonly dnsNames: readonly string[]
  readonly ipAddresses: readonly string[]
}

const DAY_MS = 24 * 60 * 60 * 1000

/** Long enough to be forgotten about, short enough that a leaked key of a laptop ends by itself. */
const LIFETIME_MS = { authority: 365 * DAY_MS, leaf: 90 * DAY_MS }

/** Clocks of a laptop and of the cluster beside it differ. */
const BACKDATE_MS = 5 * 60 * 1000

/**
 * Certificates for running against a cluster from this machine: `ca.crt`, `ca.key`, `tls.crt`, `tls.key` in `dir`,
 * made where missing and used again as long as they have a third of their life left and name what is asked for.
 */
export async function createLocalCertificates(
  dir: string,
  options: LocalOptions = {},
): Promise<LocalCertificates> {
  const { now = () => new Date(), dnsNames = ['localhost'], ipAddresses = ['127.0.0.1', '::1'] } = options
  await mkdir(dir, { recursive: true })
  const authority = (await reuse(dir, 'ca', pair => isFresh(pair, now()))) ?? (await newAuthority(dir, now()))
  const names = { dnsNames, ipAddresses }
  const isUsable = (pair: KeyPair): boolean => isFresh(pair, now()) && isIssuedFor(pair, authority, names)
  const leaf = (await reuse(dir, 'tls', isUsable)) ?? (await newLeaf(dir, { authority, names, now: now() }))
  return {
    cert: leaf.cert,
    key: leaf.key,
    caCertificate: authority.cert,
    caBundle: Buffer.from(authority.cert).toString('base64'),
    notAfter: leaf.notAfter,
  }
}

async function reuse(
  dir: string,
  name: string,
  isUsable: (pair: KeyPair) => boolean,
): Promise<KeyPair | undefined> {
  const [cert, key] = await Promise.all([read(join(dir, `${name}.crt`)), read(join(dir, `${name}.key`))])
  const pair = cert !== undefined && key !== undefined ? readKeyPair(cert, key) : undefined
  return pair !== undefined && isUsable(pair) ? pair : undefined
}

const isFresh = (pair: KeyPair, now: Date): boolean => isValidAt(pair, now) && now < renewalTime(pair)

function isIssuedFor({ cert }: KeyPair, authority: KeyPair, { dnsNames, ipAddresses }: Names): boolean {
  const certificate = new X509Certificate(cert)
  return (
    certificate.verify(new X509Certificate(authority.cert).publicKey) &&
    dnsNames.every(name => certificate.checkHost(name) !== undefined) &&
    ipAddresses.every(address => certificate.checkIP(address) !== undefined)
  )
}

async function newAuthority(dir: string, now: Date): Promise<KeyPair> {
  const authority = await createAuthority(lifeFrom(now, LIFETIME_MS.authority))
  await write(dir, 'ca', authority)
  return authority
}

async function newLeaf(
  dir: string,
  { authority, names, now }: { readonly authority: KeyPair; readonly names: Names; readonly now: Date },
): Promise<KeyPair> {
  const leaf = await signLeaf({ authority, ...names, ...lifeFrom(now, LIFETIME_MS.leaf) })
  await write(dir, 'tls', leaf)
  return leaf
}

const lifeFrom = (now: Date, lifetimeMs: number) => ({
  notBefore: new Date(now.getTime() - BACKDATE_MS),
  notAfter: new Date(now.getTime() + lifetimeMs),
})

async function write(dir: string, name: string, { cert, key }: KeyPair): Promise<void> {
  await replace(join(dir, `${name}.key`), key)
  await replace(join(dir, `${name}.crt`), cert)
}

/** Renamed into place: a process starting beside this one reads the old file or the new one, never half of it. */
async function replace(path: string, content: string): Promise<void> {
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, content, { mode: 0o600 })
  await rename(draft, path)
}

async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new Error(`reading ${path}, a certificate for local work: remove it to have a new one made`, {
      cause,
    })
  }
}
