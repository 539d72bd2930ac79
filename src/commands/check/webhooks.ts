import { z } from 'zod'
import { isValidAt, renewalTime, validityOfPem } from '../../certificates/authority.ts'
import type { WebhookConfigurationKind } from '../../certificates/ca-bundle.ts'
import { WEBHOOK_CONFIGURATION_KINDS } from '../../certificates/ca-bundle.ts'
import { parseSecret } from '../../certificates/secret.ts'
import { createObjects } from '../../kubernetes/objects.ts'
import { SECRETS } from '../../kubernetes/paths.ts'
import { configurationOf, secretOf } from '../certificate-source.ts'
import type { Finding } from './finding.ts'
import { ok, skipped, warning, wordsOf, wrong } from './finding.ts'
import type { Foundation } from '../foundation.ts'
import { readManifests } from '../registration.ts'

/** A registration as it is in the cluster, as far as it is ours to judge. */
const registrationSchema = z.object({
  metadata: z.object({ annotations: z.record(z.string(), z.string()).default({}) }),
  webhooks: z
    .array(
      z.object({
        name: z.string(),
        clientConfig: z.object({
          caBundle: z.string().default(''),
          service: z.object({ namespace: z.string(), name: z.string() }).optional(),
        }),
      }),
    )
    .default([]),
})

export type Registration = z.infer<typeof registrationSchema>

const INSTALL = 'apply the manifests: docs/install.md; without them nothing is labelled on its way in'

type Surroundings = Pick<Foundation, 'access' | 'config'>

/** Whether the API server would call us, and whom it would trust then. */
export async function checkWebhooks(
  foundation: Surroundings,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const authority = await authorityOf(foundation, signal)
  const all = WEBHOOK_CONFIGURATION_KINDS.map(async kind => {
    const registration = await registrationOf(foundation, kind, signal)
    if ('health' in registration) return [registration]
    const wanted = await webhooksOf(kind)
    return [
      registeredFinding(kind, { registration, wanted, config: foundation.config }),
      bundleFinding(kind, { registration, authority, now: new Date() }),
    ]
  })
  return (await Promise.all(all)).flat()
}

async function registrationOf(
  { access, config }: Surroundings,
  kind: WebhookConfigurationKind,
  signal: AbortSignal,
): Promise<Registration | Finding> {
  try {
    const found = await createObjects(access).read(
      configurationOf(kind, config),
      json => registrationSchema.parse(json),
      signal,
    )
    return found ?? wrong(kind, `there is none by the name ${config.service}`, INSTALL)
  } catch (error) {
    signal.throwIfAborted()
    return skipped(kind, `could not be read: ${wordsOf(error)}`)
  }
}

/** Which webhooks a registration has as it is installed. */
async function webhooksOf(kind: WebhookConfigurationKind): Promise<readonly string[]> {
  const manifest = (await readManifests()).find(each => each.kind === kind)
  return z
    .array(z.looseObject({ name: z.string() }))
    .parse(manifest?.webhooks ?? [])
    .map(({ name }) => name)
}

/** Whether every webhook is there and leads to our Service. */
export function registeredFinding(
  kind: WebhookConfigurationKind,
  {
    registration: { webhooks },
    wanted,
    config: { namespace, service },
  }: {
    readonly registration: Registration
    readonly wanted: readonly string[]
    readonly config: { readonly namespace: string; readonly service: string }
  },
): Finding {
  const missing = wanted.filter(name => !webhooks.some(webhook => webhook.name === name))
  if (missing.length > 0)
    return wrong(kind, `lacks ${missing.join(', ')}`, 'apply the manifests of the version that runs')
  const elsewhere = webhooks.filter(
    ({ clientConfig }) =>
      clientConfig.service?.namespace !== namespace || clientConfig.service.name !== service,
  )
  if (elsewhere.length === 0)
    return ok(kind, `all ${webhooks.length} webhooks call Service ${namespace}/${service}`)
  const names = elsewhere.map(({ name }) => name).join(', ')
  return wrong(kind, `${names}: calls something else than Service ${namespace}/${service}`, INSTALL)
}

/** The authority that signs our certificates; a finding where it could not be read. */
type Authority = string | Finding | undefined

async function authorityOf({ access, config }: Surroundings, signal: AbortSignal): Promise<Authority> {
  if (config.admission.certificateDir !== undefined) return undefined
  try {
    const at = { resource: SECRETS, ...secretOf(config) }
    const stored = await createObjects(access).read(at, parseSecret, signal)
    return stored?.authorities?.current.cert
  } catch (error) {
    signal.throwIfAborted()
    return skipped('authority', wordsOf(error))
  }
}

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Whether what the API server trusts is there, good today, and the authority that signs. */
export function bundleFinding(
  kind: WebhookConfigurationKind,
  {
    registration,
    authority,
    now,
  }: { readonly registration: Registration; readonly authority: Authority; readonly now: Date },
): Finding {
  const name = `caBundle of ${kind}`
  if (registration.webhooks.length === 0) return skipped(name, 'there is no webhook to trust us for')
  const bundles = new Set(registration.webhooks.map(({ clientConfig }) => clientConfig.caBundle))
  const readings = [...bundles].map(bundle => readingOf(bundle, authority, now))
  const worst = readings.find(({ trouble }) => trouble !== undefined)
  if (worst?.trouble !== undefined)
    return wrong(
      name,
      worst.trouble,
      'the replicas write it: see their log for "could not check the certificates", and that they run; with cert-manager, see its cainjector',
    )
  const until = new Date(Math.min(...readings.map(reading => reading.notAfter)))
  if (readings.some(({ isOverdue }) => isOverdue))
    return warning(
      name,
      `good until ${until.toISOString()}`,
      'it should have been renewed by now: see the log of the replicas',
    )
  return ok(name, `good until ${until.toISOString()}`)
}

interface Reading {
  readonly trouble?: string
  /** Milliseconds since 1970. */
  readonly notAfter: number
  readonly isOverdue: boolean
}

const broken = (trouble: string): Reading => ({ trouble, notAfter: 0, isOverdue: false })

/** Former authorities stay in a bundle until nobody shows a certificate of theirs: one that is good is enough. */
function readingOf(bundle: string, authority: Authority, now: Date): Reading {
  const text = Buffer.from(bundle, 'base64').toString()
  const certificates = (text.match(CERTIFICATE) ?? []).flatMap(validityIn)
  if (certificates.length === 0) return broken('is empty, or holds no certificate')
  const good = certificates.filter(validity => isValidAt(validity, now))
  const last = good.toSorted((a, b) => a.notAfter.getTime() - b.notAfter.getTime()).at(-1)
  if (!last) return broken('no certificate in it is good today')
  if (typeof authority === 'string' && !text.includes(authority.trim()))
    return broken('does not hold the authority in our Secret, which signs')
  return { notAfter: last.notAfter.getTime(), isOverdue: renewalTime(last) < now }
}

function validityIn(pem: string) {
  try {
    return [validityOfPem(pem)]
  } catch {
    return []
  }
}
