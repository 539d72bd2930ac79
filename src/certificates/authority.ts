// oxlint-disable-next-line import/no-unassigned-import -- @peculiar/x509 wants this polyfill before it is loaded
import 'reflect-metadata'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509'
import type { Extension } from '@peculiar/x509'
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto'

/** A certificate and its key, PEM, and how long it is good for. */
export interface KeyPair extends Validity {
  readonly cert: string
  readonly key: string
}

export interface Validity {
  readonly notBefore: Date
  readonly notAfter: Date
}

export interface LeafRequest extends Validity {
  readonly authority: KeyPair
  readonly dnsNames: readonly string[]
  readonly ipAddresses?: readonly string[]
}

/** ECDSA: a handshake costs less than with RSA, and P-256 is what every client takes. */
const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** A new certificate authority that signs servers' certificates and nothing below them. X.509 knows whole seconds. */
export async function createAuthority(validity: Validity): Promise<KeyPair> {
  const keys = await generateKeys()
  // The date tells two authorities apart, for people and for clients that look up an issuer by its name.
  const name = `CN=prefect-lifeguard webhook CA ${validity.notBefore.toISOString()}`
  const certificate = await X509CertificateGenerator.create({
    ...validity,
    serialNumber: serialNumber(),
    subject: name,
    issuer: name,
    publicKey: keys.publicKey,
    signingKey: keys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new BasicConstraintsExtension(true, 0, true),
      new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return keyPair(certificate.toString('pem'), keys)
}

/** A server's certificate for these names, signed by the authority and outliving it never. */
export async function signLeaf({ authority, notBefore, notAfter, ...names }: LeafRequest): Promise<KeyPair> {
  const keys = await generateKeys()
  const issuer = new X509Certificate(authority.cert)
  const certificate = await X509CertificateGenerator.create({
    notBefore,
    notAfter: notAfter < authority.notAfter ? notAfter : authority.notAfter,
    serialNumber: serialNumber(),
    subject: 'CN=prefect-lifeguard webhooks',
    issuer: issuer.subject,
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: ALGORITHM,
    extensions: await leafExtensions(names, { keys, issuer }),
  })
  return keyPair(certificate.toString('pem'), keys)
}

async function leafExtensions(
  { dnsNames, ipAddresses = [] }: Pick<LeafRequest, 'dnsNames' | 'ipAddresses'>,
  { keys, issuer }: { readonly keys: webcrypto.CryptoKeyPair; readonly issuer: X509Certificate },
): Promise<Extension[]> {
  const dns = dnsNames.map(value => ({ type: 'dns' as const, value }))
  const ips = ipAddresses.map(value => ({ type: 'ip' as const, value }))
  return [
    new BasicConstraintsExtension(false, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
    new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
    new SubjectAlternativeNameExtension([...dns, ...ips]),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
    await AuthorityKeyIdentifierExtension.create(await publicKeyOf(issuer)),
  ]
}

/**
 * Reads a pair from PEM. Undefined when either is unreadable or they do not belong together: a half-written or
 * edited file or Secret is then as good as none.
 */
export function readKeyPair(cert: string, key: string): KeyPair | undefined {
  try {
    const certificate = new X509Certificate(cert)
    if (!certificate.checkPrivateKey(createPrivateKey(key))) return undefined
    return { cert, key, ...validityOf(certificate) }
  } catch {
    return undefined
  }
}

/** When to renew: with a third of life left, so that a failed renewal can be repeated for long. cert-manager's rule. */
export const renewalTime = ({ notBefore, notAfter }: Validity): Date =>
  new Date(notAfter.getTime() - (notAfter.getTime() - notBefore.getTime()) / 3)

/** Whether a certificate is good at this moment. */
export const isValidAt = ({ notBefore, notAfter }: Validity, now: Date): boolean =>
  notBefore <= now && now < notAfter

/** From when to when a certificate, PEM, is good. Throws where it is none. */
export const validityOfPem = (cert: string): Validity => validityOf(new X509Certificate(cert))

const validityOf = ({ validFromDate, validToDate }: X509Certificate): Validity => ({
  notBefore: validFromDate,
  notAfter: validToDate,
})

const generateKeys = (): Promise<webcrypto.CryptoKeyPair> =>
  webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])

async function keyPair(cert: string, keys: webcrypto.CryptoKeyPair): Promise<KeyPair> {
  const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY')
  return { cert, key, ...validityOfPem(cert) }
}

const importKey = (pem: string): Promise<webcrypto.CryptoKey> =>
  webcrypto.subtle.importKey('pkcs8', PemConverter.decodeFirst(pem), ALGORITHM, false, ['sign'])

const publicKeyOf = (certificate: X509Certificate): Promise<webcrypto.CryptoKey> =>
  webcrypto.subtle.importKey(
    'spki',
    certificate.publicKey.export({ type: 'spki', format: 'der' }),
    ALGORITHM,
    true,
    ['verify'],
  )

/** 127 random bits: positive, as RFC 5280 wants it, and never the same twice. */
function serialNumber(): string {
  const bytes = randomBytes(16)
  bytes.writeUInt8(bytes.readUInt8(0) & 0x7f, 0)
  return bytes.toString('hex')
}
