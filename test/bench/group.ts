/** What can be measured on its own: `npm run bench -- --only webhook`. In this order it is run and printed. */
export const GROUP_NAMES = ['webhook', 'apiserver', 'reaction', 'cost', 'scale'] as const
export type GroupName = (typeof GROUP_NAMES)[number]

/** A part of the benchmarks that measures one thing, ours beside its peers. */
export interface Group {
  readonly name: GroupName
  /** The heading of its section, in a reader's words. */
  readonly title: string
  /** What of the command line's sizes it heeds. */
  readonly sizes?: readonly (keyof Sizes)[]
  /** Sets up what it needs, measures, and leaves nothing running. Throws where it cannot measure. */
  readonly run: (bench: Bench) => Promise<Measurements>
}

export interface Bench {
  /** A line for people who wait. */
  readonly progress: (line: string) => void
  /** As many of something as the command line asks for; absent: what a few minutes allow. */
  readonly sizes: Sizes
}

export interface Sizes {
  /** Of `scale`: Jobs in the largest step. */
  readonly jobs?: number
  /** Of `scale`: Jobs in the largest step that the peer takes part in. */
  readonly peerJobs?: number
  /** Of `reaction`: runs that come and go for each observer while others die. */
  readonly churn?: number
}

export interface Measurements {
  readonly figures: readonly Figure[]
  readonly charts: readonly Chart[]
  /** Of everything that was compared, by name; Node and Kubernetes are noted anyway. */
  readonly versions: Readonly<Record<string, string>>
  /** How it was measured: a paragraph of markdown. */
  readonly method: string
  /** What limits us, and why: a paragraph of markdown. */
  readonly limit: string
}

/** One number, measured several times. Ratios come from values measured side by side, in the same round. */
export interface Figure {
  /** Its field in the JSON: `ratioToBare` of group `webhook` becomes `webhook.ratioToBare`. */
  readonly name: string
  /** A row's words: what was measured, and in what case. */
  readonly what: string
  /** Such as `ms` or `requests/s`; `×` for a ratio. */
  readonly unit: string
  /** One value a round. */
  readonly samples: readonly number[]
  /** What is to be reached by the median. */
  readonly reach?: { readonly atLeast: number } | { readonly atMost: number }
}

/** A picture; its file is `<group>-<name>.svg`. */
export type Chart = Bars | Lines

export interface Bars {
  readonly kind: 'bars'
  readonly name: string
  readonly title: string
  readonly unit: string
  /** Bars stand side by side in groups; a bar is as long as the median, its whisker spans minimum and maximum. */
  readonly groups: readonly {
    readonly label: string
    readonly bars: readonly { readonly label: string; readonly samples: readonly number[] }[]
  }[]
}

export interface Lines {
  readonly kind: 'lines'
  readonly name: string
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly series: readonly {
    readonly label: string
    readonly points: readonly (readonly [x: number, y: number])[]
  }[]
}

export interface Axis {
  readonly label: string
  /** Powers of ten at even distances; values must be above 0. */
  readonly isLogarithmic?: boolean
}
