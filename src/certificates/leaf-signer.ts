import { signLeaf } from './authority.ts'
import { validFrom } from './lifetimes.ts'
import type { Lifetimes } from './lifetimes.ts'
import { isLeafDue } from './rotation.ts'
import type { Authorities, Leaf } from './rotation.ts'

export interface LeafSignerDeps {
  /** What the apiserver calls us: `<service>.<namespace>.svc`. */
  readonly dnsNames: readonly string[]
  readonly ipAddresses?: readonly string[]
  readonly lifetimes: Lifetimes
  readonly now: () => Date
}

export interface LeafSigner {
  /** Signs a new leaf if one is due, and returns it; undefined when the present one will do. */
  readonly renew: (authorities: Authorities) => Promise<Leaf | undefined>
  /** The present leaf. */
  readonly leaf: () => Leaf | undefined
}

/** The certificate this replica shows. It never leaves memory, so it need not be agreed on with anybody. */
export function createLeafSigner({ dnsNames, ipAddresses = [], lifetimes, now }: LeafSignerDeps): LeafSigner {
  let leaf: Leaf | undefined
  const renew = async (authorities: Authorities): Promise<Leaf | undefined> => {
    if (!isLeafDue(leaf, authorities, now())) return undefined
    const { current: authority } = authorities
    const validity = validFrom(now(), lifetimes.leafMs, lifetimes)
    leaf = {
      ...(await signLeaf({ authority, dnsNames, ipAddresses, ...validity })),
      authority: authority.cert,
    }
    return leaf
  }
  return { renew, leaf: () => leaf }
}
