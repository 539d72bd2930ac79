/** The label Prefect's worker gives every Job and pod of a flow run. Source: prefect-kubernetes, worker.py. */
export const FLOW_RUN_ID_LABEL = 'prefect.io/flow-run-id'

/** The label admission adds to the Jobs and pods of a subflow run: the parent's task run. */
export const PARENT_TASK_RUN_ID_LABEL = 'prefect.io/parent-task-run-id'

/** The annotation admission adds beside the label: nothing of ours will ever hold up this object's deletion. */
export const FINALIZER_FREE_ANNOTATION = 'prefect.io/finalizer-free'

/** The annotation on a Job that we suspended in order to end its run: while it stays suspended it is no sign of life. */
export const SUSPENDED_BY_US_ANNOTATION = 'prefect-lifeguard.dev/suspended'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/**
 * Whether a label value is a UUID as Prefect writes them (lower case, hyphens). One value that is none makes
 * Prefect refuse a whole batched look-up with 422 (measured on 3.8.8), so each is checked before it is sent.
 */
export const isUuid = (value: unknown): value is string => typeof value === 'string' && UUID.test(value)
