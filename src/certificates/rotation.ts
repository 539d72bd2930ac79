import { renewalTime, validityOfPem } from './authority.ts'
import type { KeyPair } from './authority.ts'

/** The authorities the replicas agree on. */
export interface Authorities {
  /** Signs every leaf. */
  readonly current: KeyPair
  /** Trusted already, signs nothing yet. */
  readonly next?: KeyPair
  /** Certificates of former authorities, PEM: leaves of theirs may still be in use. Their keys are gone. */
  readonly previous: readonly string[]
}

/** What to do about the authorities. */
export type Step =
  | { readonly kind: 'keep'; readonly authorities: Authorities }
  /** There is none, or none that is still good: a new one has to do at once. */
  | { readonly kind: 'create' }
  /** The current one gets old: prepare the next, so that everybody trusts it before it is used. */
  | { readonly kind: 'prepare'; readonly authorities: Authorities }
  /** Everybody trusts the next one: it signs from now on. */
  | { readonly kind: 'promote'; readonly authorities: Authorities; readonly next: KeyPair }

export interface RotationFacts {
  readonly authorities: Authorities | undefined
  /** Since when every webhook configuration has been seen to hold the next authority, without a gap. */
  readonly nextTrustedSince: Date | undefined
  /** How long an apiserver may take to hear of a changed configuration. */
  readonly propagationMs: number
  readonly now: Date
}

/**
 * The next step of a rotation. A leaf is never signed by an authority that some apiserver may not trust yet: that is
 * how cert-manager#5519, istio#22372 and linkerd2#1898 lost their webhooks.
 */
export function rotationStep({ authorities, ...facts }: RotationFacts): Step {
  if (authorities === undefined) return { kind: 'create' }
  const { current, next } = authorities
  if (next !== undefined && !isExpired(next, facts.now)) return stepWithNext(authorities, next, facts)
  if (isExpired(current, facts.now)) return { kind: 'create' }
  return { kind: facts.now < renewalTime(current) ? 'keep' : 'prepare', authorities }
}

/** An expired authority cannot sign: then the next one takes over, trusted everywhere or not. */
function stepWithNext(
  authorities: Authorities,
  next: KeyPair,
  { nextTrustedSince, propagationMs, now }: Omit<RotationFacts, 'authorities'>,
): Step {
  if (isExpired(authorities.current, now)) return { kind: 'promote', authorities, next }
  const trustedMs = nextTrustedSince === undefined ? -1 : now.getTime() - nextTrustedSince.getTime()
  return trustedMs >= propagationMs ? { kind: 'promote', authorities, next } : { kind: 'keep', authorities }
}

/**
 * Not "invalid": one that is not good yet comes from a replica whose clock is ahead, and replicas that replace each
 * other's authorities for that would never end.
 */
const isExpired = ({ notAfter }: KeyPair, now: Date): boolean => now >= notAfter

/** The authorities after the next one has become the current one. The old key is dropped, its certificate stays trusted. */
export const promoted = ({ current, previous }: Authorities, next: KeyPair, now: Date): Authorities => ({
  current: next,
  previous: [current.cert, ...previous].filter(cert => validityOfPem(cert).notAfter > now),
})

/** What the apiserver has to trust: every authority that may have signed a leaf in use, now or soon. PEM, in a fixed order. */
export const trusted = ({ current, next, previous }: Authorities, now: Date): readonly string[] => [
  current.cert,
  ...(next === undefined ? [] : [next.cert]),
  ...previous.filter(cert => validityOfPem(cert).notAfter > now),
]

/** Whether a leaf has to be (re)placed: none, getting old, or of another authority than the current one. */
export const isLeafDue = (leaf: Leaf | undefined, { current }: Authorities, now: Date): boolean =>
  leaf === undefined || leaf.authority !== current.cert || now >= renewalTime(leaf) || now < leaf.notBefore

/** A leaf and the certificate of the authority it is from. */
export interface Leaf extends KeyPair {
  readonly authority: string
}
