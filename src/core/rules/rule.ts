import type { Verdict } from '../verdict.ts'

/** A rule looks at the case and either decides or hands on. The first answer wins. */
export interface Rule<C> {
  readonly name: string
  readonly decide: (facts: C) => Verdict | undefined
}
