/** One thing that has to be well, in words: `ok`, or what is wrong and since when. */
export interface Check {
  readonly name: string
  readonly ok: boolean
  readonly detail: string
}

/** What the status page shows; texts as they are, times in milliseconds since 1970. */
export interface StatusReport {
  readonly now: number
  /** This replica, as the Lease names it. */
  readonly identity: string
  readonly isLeader: boolean
  /** What becomes of dead runs, in words. */
  readonly mode: string
  readonly parts: readonly Check[]
  readonly watched: {
    readonly runs: number
    readonly jobs: number
    readonly pods: number
    /** The newest of those that have not ended, then the newest others; not all. */
    readonly shown: readonly WatchedRun[]
  }
  /** Newest first; as many as are kept. */
  readonly verdicts: readonly ToldVerdict[]
  /** Since when they are kept. */
  readonly since: number
}

export interface WatchedRun {
  readonly flowRunId: string
  readonly job: string
  /** What Kubernetes says of it. */
  readonly state: string
  readonly isAlive: boolean
  readonly pods: string
  readonly createdAt: number
}

/** A verdict that people were told of. */
export interface ToldVerdict {
  readonly at: number
  readonly flowRunId: string
  readonly name: string
  readonly job: string
  readonly code: string
  readonly outcome: string
  /** Kubernetes has given up on it; else it cannot start, and may still. */
  readonly isDeath: boolean
  /** The sentence that stands everywhere else, too. */
  readonly text: string
  /** The rules that were asked, the last one with its answer. */
  readonly trail: readonly string[]
}
