import { createAuthority } from './authority.ts'
import { validFrom } from './lifetimes.ts'
import type { Lifetimes } from './lifetimes.ts'
import { promoted, rotationStep } from './rotation.ts'
import type { Authorities, Step } from './rotation.ts'
import { parseSecret, secretOf } from './secret.ts'
import type { SecretBody, StoredAuthorities } from './secret.ts'

export interface AuthorityStoreDeps {
  /** GET; undefined when there is none. */
  readonly readSecret: (signal: AbortSignal) => Promise<unknown>
  /** POST; false when it exists already. */
  readonly createSecret: (secret: SecretBody, signal: AbortSignal) => Promise<boolean>
  /** PUT with its resourceVersion; false when it has changed or gone since. */
  readonly updateSecret: (secret: SecretBody, signal: AbortSignal) => Promise<boolean>
  readonly secret: { readonly namespace: string; readonly name: string }
  /** Looks since when every webhook configuration has held the next authority, without a gap; undefined when one does not. */
  readonly nextTrustedSince: (authorities: Authorities, signal: AbortSignal) => Promise<Date | undefined>
  /** Told of every step that was taken, for the log. `restore`: the Secret was gone or unusable. */
  readonly onStep: (step: Exclude<Step['kind'], 'keep'> | 'restore') => void
  readonly lifetimes: Lifetimes
  readonly now: () => Date
}

/** Each conflict means that another replica got something done, so a few are enough. */
const MAX_ATTEMPTS = 5

/**
 * The authorities that the replicas share in a Secret. What is returned reads the Secret and takes the next step of
 * the rotation, if there is one. Of several replicas that try at once one succeeds; the others are refused by the
 * API, read again and find it done.
 * A Secret that was deleted or made unusable is restored from memory: a new authority would be one nobody trusts yet.
 * Rejects when the API cannot be asked.
 */
export function createAuthorityStore(
  deps: AuthorityStoreDeps,
): (signal: AbortSignal) => Promise<Authorities> {
  let known: Authorities | undefined
  const agree = async (signal: AbortSignal, attempt: number): Promise<Authorities> => {
    if (attempt > MAX_ATTEMPTS)
      throw new Error(`${idOf(deps)} was changed by others ${MAX_ATTEMPTS} times in a row`)
    const stored = await read(deps, signal)
    const inSecret = stored?.authorities
    const { step, wanted } = await next(deps, inSecret ?? known, signal)
    if (wanted === inSecret) return wanted
    if (!(await write(deps, { wanted, stored }, signal))) return agree(signal, attempt + 1)
    deps.onStep(step === 'keep' ? 'restore' : step)
    return wanted
  }
  return async signal => {
    known = await agree(signal, 1)
    return known
  }
}

async function read(
  { readSecret }: AuthorityStoreDeps,
  signal: AbortSignal,
): Promise<StoredAuthorities | undefined> {
  const secret = await readSecret(signal)
  return secret === undefined ? undefined : parseSecret(secret)
}

async function next(
  { lifetimes, now, ...deps }: AuthorityStoreDeps,
  authorities: Authorities | undefined,
  signal: AbortSignal,
): Promise<{ readonly step: Step['kind']; readonly wanted: Authorities }> {
  // Looked at afresh, and only while there is a next one: what was true at the last look may be overwritten by now.
  const nextTrustedSince = authorities?.next && (await deps.nextTrustedSince(authorities, signal))
  const time = now()
  const step = rotationStep({
    authorities,
    nextTrustedSince,
    propagationMs: lifetimes.propagationMs,
    now: time,
  })
  const newAuthority = () => createAuthority(validFrom(time, lifetimes.authorityMs, lifetimes))
  switch (step.kind) {
    case 'create':
      return { step: step.kind, wanted: { current: await newAuthority(), previous: [] } }
    case 'prepare':
      return { step: step.kind, wanted: { ...step.authorities, next: await newAuthority() } }
    case 'promote':
      return { step: step.kind, wanted: promoted(step.authorities, step.next, time) }
    case 'keep':
      return { step: step.kind, wanted: step.authorities }
  }
}

function write(
  { secret, createSecret, updateSecret }: AuthorityStoreDeps,
  { wanted, stored }: { readonly wanted: Authorities; readonly stored: StoredAuthorities | undefined },
  signal: AbortSignal,
): Promise<boolean> {
  if (stored !== undefined) return updateSecret(secretOf(wanted, stored), signal)
  const labels = { 'app.kubernetes.io/name': 'prefect-lifeguard' }
  return createSecret(secretOf(wanted, { metadata: { ...secret, labels }, type: 'Opaque' }), signal)
}

const idOf = ({ secret }: AuthorityStoreDeps): string => `Secret ${secret.namespace}/${secret.name}`
