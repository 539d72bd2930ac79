/** Chance that can be had again: the same seed draws the same numbers. */
export interface Chance {
  /** In [0, 1). */
  readonly next: () => number
  readonly between: (least: number, most: number) => number
  readonly whole: (least: number, most: number) => number
  readonly pick: <T>(items: readonly T[]) => T
  /** Picks by weight. */
  readonly weighted: <T>(items: readonly (readonly [weight: number, item: T])[]) => T
}

/** mulberry32, which is public domain, six lines long, and good enough to draw faults: `Math.random` takes no seed. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Chance from a seed; `stream` tells apart those that must not depend on how often the others were asked. */
export function createChance(seed: number, stream = 0): Chance {
  const next = mulberry32(Math.imul(seed, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b))
  const between = (least: number, most: number): number => least + (most - least) * next()
  const pick = <T>(items: readonly T[]): T => {
    const item = items[Math.floor(next() * items.length)]
    if (item === undefined) throw new Error('there is nothing to pick from')
    return item
  }
  return {
    next,
    between,
    whole: (least, most) => Math.floor(between(least, most + 1)),
    pick,
    weighted: items => {
      let left = next() * items.reduce((sum, [weight]) => sum + weight, 0)
      const found = items.find(([weight]) => (left -= weight) < 0) ?? items.at(-1)
      if (found === undefined) throw new Error('there is nothing to pick from')
      return found[1]
    },
  }
}
