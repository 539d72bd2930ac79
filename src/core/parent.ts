/**
 * What Prefect says about a flow run's parent. A subflow run has the task run of its parent that stands for it;
 * a top-level run has none; a run can be unknown to Prefect. That Prefect could not be asked is no answer but an
 * error: the look-up's promise is rejected then.
 */
export type Parent =
  | { readonly kind: 'subflow'; readonly parentTaskRunId: string }
  | { readonly kind: 'topLevel' }
  | { readonly kind: 'notFound' }

/**
 * Looks up the parent of a flow run. Rejects when Prefect is unreachable or its answer makes no sense, and when
 * the signal aborts; an answer that comes later may still fill a cache.
 */
export interface ParentOf {
  (flowRunId: string, signal: AbortSignal): Promise<Parent>
  /** What is remembered of an earlier answer, at once; undefined where Prefect has to be asked. */
  readonly known?: (flowRunId: string) => Parent | undefined
}
