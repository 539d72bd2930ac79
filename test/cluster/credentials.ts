import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { createAuthority, signLeaf } from '../../src/certificates/authority.ts'

/** What a client needs beside the address. */
export interface Credentials {
  /** Certificate of the authority that signed the server's, PEM. */
  readonly ca: string
  readonly token: string
}

export const ADMIN = 'admin'

/** Longer than any test or demonstration runs. */
const VALID_MS = 365 * 24 * 3_600_000

/** Names under which clients reach the apiserver: ours by address, programs in the cluster by the Service's name. */
const DNS_NAMES = ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc']

/**
 * Writes what the programs need to know and trust each other into a folder: `ca.crt`, `apiserver.crt` and `.key`,
 * `service-account.key` and `.pub`, `tokens.csv`.
 */
export async function writeCredentials(folder: string): Promise<Credentials> {
  const authority = await createAuthority(validity())
  const serving = await signLeaf({
    authority,
    ...validity(),
    dnsNames: DNS_NAMES,
    ipAddresses: ['127.0.0.1'],
  })
  const signing = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  const token = randomBytes(16).toString('hex')
  const files = {
    'ca.crt': authority.cert,
    'apiserver.crt': serving.cert,
    'apiserver.key': serving.key,
    'service-account.key': signing.privateKey,
    'service-account.pub': signing.publicKey,
    // token, user name, user id, groups
    'tokens.csv': `${token},${ADMIN},${ADMIN},"system:masters"\n`,
  }
  await Promise.all(
    Object.entries(files).map(([name, text]) => writeFile(join(folder, name), text, { mode: 0o600 })),
  )
  return { ca: authority.cert, token }
}

/** A serving certificate that nobody is asked to verify, as a kubelet makes one for itself. */
export async function selfMadeServingCertificate(
  name: string,
): Promise<{ readonly cert: string; readonly key: string }> {
  const authority = await createAuthority(validity())
  return signLeaf({ authority, ...validity(), dnsNames: [name], ipAddresses: ['127.0.0.1'] })
}

function validity(): { notBefore: Date; notAfter: Date } {
  const now = Date.now()
  // An hour back: a virtual machine's clock may be set while we run.
  return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + VALID_MS) }
}

/** Writes `kubeconfig`, for the administrator, into the folder and gives its path. */
export async function writeKubeconfig(
  folder: string,
  { server, ca, token }: Credentials & { readonly server: string },
): Promise<string> {
  const name = 'prefect-lifeguard'
  const certificate = Buffer.from(ca).toString('base64')
  const path = join(folder, 'kubeconfig')
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': certificate } }],
    users: [{ name: ADMIN, user: { token } }],
    contexts: [{ name, context: { cluster: name, user: ADMIN } }],
    'current-context': name,
  }
  await writeFile(path, stringify(config), { mode: 0o600 })
  return path
}
