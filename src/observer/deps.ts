import type { Logger } from 'pino'
import type { Job, Pod } from '../core/objects.ts'
import type { VerdictSettings } from '../core/settings.ts'
import type { Acts } from './act.ts'
import type { Clock } from './clock.ts'
import type { ObserverMetrics } from './metrics.ts'
import type { Outbox } from './outbox.ts'
import type { Reads } from './reads.ts'
import type { Story } from './story.ts'
import type { JobEvent, Tells } from './tell.ts'

/** The objects that a watch holds. */
export interface Watched<T> {
  readonly list: () => Iterable<T>
  /** By flow run id. */
  readonly byIndex: (flowRunId: string) => readonly T[]
}

/** Everything that watching over flow runs needs. */
export interface ObserverDeps {
  readonly jobs: () => Watched<Job>
  readonly pods: () => Watched<Pod>
  readonly reads: Omit<Reads, 'seen' | 'now'>
  readonly acts: Omit<Acts, 'tell' | 'onWritten' | 'now' | 'failureState' | 'inTurn'>
  readonly annotateJob: Tells['annotateJob']
  readonly recordEvent: (event: JobEvent, signal: AbortSignal) => Promise<unknown>
  readonly podLogTail: Tells['podLogTail']
  readonly outbox: Outbox
  readonly settings: VerdictSettings
  readonly logger: Logger
  readonly metrics: ObserverMetrics
  readonly clock: Clock
  /** Hears of each verdict when people do: for a page that shows the last ones. */
  readonly onTold?: (story: Story) => void
}
