/** Sizes and times of a reflector. */
export interface ReflectorLimits {
  /** Objects a page: the JSON of all is parsed at one go, while nothing else runs. */
  readonly pageSize: number
  /** A watch that brings nothing for so long, not even a bookmark, is taken for dead. */
  readonly silenceMs: number
  readonly maxLineBytes: number
  /** What a watch asks the server to end it after, drawn at random in between. */
  readonly watchSeconds: readonly [number, number]
  /** Time between two comparisons, drawn at random in between. */
  readonly compareMs: readonly [number, number]
  /** How long a watch may lag behind a list before a difference is taken for one. */
  readonly settleMs: number
  /** Least wait after an answer that only a person can change, such as 403. */
  readonly slowMs: number
}

export const REFLECTOR_LIMITS: ReflectorLimits = {
  // A fifth of client-go's page: JSON of 500 pods takes 20 to 30 ms, in which an admission review would have to wait.
  pageSize: 100,
  // The apiserver sends a bookmark a minute and up to a quarter more (cacher.go, `bookmarkFrequency` and its jitter).
  // Waking a watch that was merely quiet costs one request, so there is no need to be generous.
  silenceMs: 90_000,
  // etcd takes 1.5 MiB, an apiserver 3 MiB; JSON may take some times more than protobuf.
  maxLineBytes: 16 * 1024 * 1024,
  // As client-go, `minWatchTimeout`.
  watchSeconds: [300, 600],
  compareMs: [300_000, 600_000],
  settleMs: 10_000,
  slowMs: 15_000,
}
