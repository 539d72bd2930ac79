import { z } from 'zod'
import { readKeyPair, validityOfPem } from './authority.ts'
import type { Authorities } from './rotation.ts'

/** A Secret as it is sent to the API. */
export interface SecretBody {
  readonly apiVersion: 'v1'
  readonly kind: 'Secret'
  readonly metadata: {
    readonly namespace: string
    readonly name: string
    /** Present on updates: the API refuses the write when somebody else was faster. */
    readonly resourceVersion?: string
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly type: string
  readonly data: Readonly<Record<string, string>>
}

/** A Secret as it was read. Undefined `authorities`: what is in it is unusable. */
export interface StoredAuthorities {
  readonly authorities: Authorities | undefined
  readonly metadata: SecretBody['metadata']
  readonly type: string
}

const strings = z
  .record(z.string(), z.string())
  .nullish()
  .transform(value => value ?? {})

const secretSchema = z.object({
  metadata: z.object({
    namespace: z.string(),
    name: z.string(),
    resourceVersion: z.string(),
    labels: strings,
    annotations: strings,
  }),
  type: z.string(),
  data: strings,
})

/**
 * Reads the Secret the replicas share: `ca.crt` and `ca.key` sign, `next.crt` and `next.key` will, `previous.crt`
 * holds former authorities one after the other. Throws a TypeError when the object is no Secret.
 */
export function parseSecret(secret: unknown): StoredAuthorities {
  const result = secretSchema.safeParse(secret)
  if (!result.success) throw new TypeError(`not a Secret: ${z.prettifyError(result.error)}`)
  const { metadata, type, data } = result.data
  return { metadata, type, authorities: authoritiesIn(data) }
}

function authoritiesIn(data: Readonly<Record<string, string>>): Authorities | undefined {
  const text = (key: string): string => Buffer.from(data[key] ?? '', 'base64').toString()
  const current = readKeyPair(text('ca.crt'), text('ca.key'))
  if (current === undefined) return undefined
  const next = readKeyPair(text('next.crt'), text('next.key'))
  const previous = certificatesIn(text('previous.crt'))
  return { current, previous, ...(next && { next }) }
}

/** The Secret that holds these authorities; labels and annotations others put on it stay. */
export function secretOf(
  { current, next, previous }: Authorities,
  { metadata, type }: Pick<StoredAuthorities, 'metadata' | 'type'>,
): SecretBody {
  const data = {
    'ca.crt': current.cert,
    'ca.key': current.key,
    'next.crt': next?.cert,
    'next.key': next?.key,
    'previous.crt': previous.length > 0 ? previous.join('\n') : undefined,
  }
  return { apiVersion: 'v1', kind: 'Secret', metadata, type, data: encoded(data) }
}

const encoded = (data: Readonly<Record<string, string | undefined>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(data).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, Buffer.from(value).toString('base64')]],
    ),
  )

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

const certificatesIn = (pem: string): readonly string[] =>
  (pem.match(CERTIFICATE) ?? []).filter(isCertificate)

function isCertificate(pem: string): boolean {
  try {
    return validityOfPem(pem).notAfter instanceof Date
  } catch {
    return false
  }
}
