/** Series of a Prometheus exposition: `name{label="value"}` and its value. */
export type Figures = ReadonlyMap<string, number>

/** Reads what /metrics says; comments are left out. */
export function parseFigures(text: string): Figures {
  return new Map(
    text
      .split('\n')
      .filter(line => line !== '' && !line.startsWith('#'))
      .map(line => {
        const space = line.lastIndexOf(' ')
        return [line.slice(0, space), Number(line.slice(space + 1))] as const
      }),
  )
}

/** The sum over all series of a name, whatever their labels; with `having`, of those that contain this text. */
export function sumOf(figures: Figures, name: string, having = ''): number {
  let sum = 0
  for (const [series, value] of figures)
    if ((series === name || series.startsWith(`${name}{`)) && series.includes(having)) sum += value
  return sum
}
