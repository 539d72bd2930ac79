/**
 * What a later process must know is kept in annotations of the Job, where people can read it, too: no finalizer,
 * no database. All under one prefix, applied as one set by our own field manager.
 */
export const PREFIX = 'prefect-lifeguard.dev/'

/** The diagnosis, as one sentence with its code and resolution. */
export const DIAGNOSIS = `${PREFIX}diagnosis`

/** The last verdict that was told or carried out: kind, reason, code and the state it rested on. */
export const VERDICT = `${PREFIX}verdict`

/** The rules that were asked, the last one with its answer. */
export const TRAIL = `${PREFIX}trail`

/** How the run's pods ended, so that a diagnosis survives them. */
export const DEAD_PODS = `${PREFIX}dead-pods`
