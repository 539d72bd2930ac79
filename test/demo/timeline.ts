/** One thing that happened, where, and when (milliseconds since 1970). */
export interface Moment {
  readonly at: number
  readonly where: 'Kubernetes' | 'Prefect' | 'admission' | 'observer' | 'demo'
  readonly what: string
}

/** Collects what happens, in whatever order it becomes known. */
export interface Timeline {
  readonly add: (where: Moment['where'], what: string, at?: number) => void
  readonly moments: () => readonly Moment[]
}

export function createTimeline(): Timeline {
  const moments: Moment[] = []
  return {
    add: (where, what, at = Date.now()) => {
      moments.push({ at, where, what })
    },
    moments: () => moments.toSorted((a, b) => a.at - b.at),
  }
}

const COLOURS: Readonly<Record<Moment['where'], number>> = {
  Kubernetes: 34,
  Prefect: 35,
  admission: 36,
  observer: 32,
  demo: 90,
}

const LINE_LENGTH = 104

/** As lines for people: seconds since the beginning, where, what. Coloured on a terminal. */
export function render(moments: readonly Moment[], isColoured: boolean): string {
  const start = moments[0]?.at ?? 0
  return moments
    .flatMap(({ at, where, what }) => {
      const [first = '', ...rest] = wrap(what)
      const seconds = ((at - start) / 1000).toFixed(1).padStart(6)
      const place = where.padEnd(11)
      const shown = isColoured ? `\u001B[${COLOURS[where]}m${place}\u001B[0m` : place
      return [`${seconds} s  ${shown} ${first}`, ...rest.map(line => `${' '.repeat(22)}${line}`)]
    })
    .join('\n')
}

/** At spaces, so that a diagnosis can be read. */
function wrap(text: string): readonly string[] {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const last = lines.length - 1
    const line = lines[last] === '' ? word : `${lines[last] ?? ''} ${word}`
    if (line.length > LINE_LENGTH - 22 && lines[last] !== '') lines.push(word)
    else lines[last] = line
  }
  return lines
}
