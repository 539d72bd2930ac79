import type { Test } from 'tap'
import type { Need } from '../../../src/core/facts.ts'
import type { World } from './world.ts'
import { decideIn } from './world.ts'

/** What is to come of a world. */
interface Expected {
  readonly world: World
  /** Kind and reason: `crash JobFailed`. */
  readonly verdict: string
  /** More of the verdict: `delayMs`, `would`, ... */
  readonly with?: Readonly<Record<string, unknown>>
  /** All that had to be read, in order. */
  readonly asked?: readonly Need[]
}

/** Sentences, each with what it means. */
export type Sentences = Readonly<Record<string, Expected>>

/**
 * Shows that every sentence is true.
 *
 * @param rule the rule that has to have decided, where all of them are about one.
 */
export function showThat(t: Test, sentences: Sentences, rule?: string): void {
  for (const [sentence, expected] of Object.entries(sentences)) {
    const { verdict, asked, trail } = decideIn(expected.world)
    t.equal(`${verdict.kind} ${verdict.reason}`, expected.verdict, sentence)
    if (expected.with) t.match(verdict, expected.with, `${sentence}: the verdict in full`)
    if (expected.asked) t.strictSame(asked, expected.asked, `${sentence}: what was read`)
    if (rule !== undefined) t.equal(trail.rules.at(-1)?.rule, rule, `${sentence}: the rule`)
  }
}
