/** Smallest, middle and largest of what was measured. */
export interface Spread {
  readonly minimum: number
  readonly median: number
  readonly maximum: number
}

/**
 * The value below which a share of the samples lies, between 0 and 1; between two samples it lies on the line.
 *
 * @throws without samples: nothing was measured.
 */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  const at = share * (sorted.length - 1)
  const [below, above] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]]
  if (below === undefined || above === undefined) throw new Error('nothing was measured')
  return below + (above - below) * (at - Math.floor(at))
}

/** @throws without samples. */
export const median = (samples: readonly number[]): number => quantile(samples, 0.5)

/** @throws without samples. */
export const spreadOf = (samples: readonly number[]): Spread => ({
  minimum: quantile(samples, 0),
  median: median(samples),
  maximum: quantile(samples, 1),
})

/** Round by round, so that what disturbs a round disturbs both sides: ours over theirs, or any other pair. */
export function ratios(ours: readonly number[], theirs: readonly number[]): readonly number[] {
  if (ours.length !== theirs.length)
    throw new Error(`${ours.length} rounds against ${theirs.length} cannot be compared`)
  return ours.map((value, round) => value / (theirs[round] ?? Number.NaN))
}

/**
 * Measures all contestants in turns, `rounds` times, every other round backwards: what changes with time changes for
 * all of them alike. Gives each one's values, one a round.
 */
export async function inTurns<Name extends string, Value>(
  rounds: number,
  contestants: Readonly<Record<Name, (round: number) => Promise<Value>>>,
): Promise<Readonly<Record<Name, readonly Value[]>>> {
  const names = Object.keys(contestants) as Name[]
  const values = Object.fromEntries(names.map(name => [name, []])) as unknown as Record<Name, Value[]>
  for (let round = 0; round < rounds; round += 1)
    for (const name of round % 2 === 0 ? names : names.toReversed())
      values[name].push(await contestants[name](round))
  return values
}
