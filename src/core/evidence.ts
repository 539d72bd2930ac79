/** A look-up that brought no answer, and why, in words for a log line. */
export interface Unknown {
  readonly known: false
  readonly why: string
}

/**
 * What a look-up brought. A list that failed is *unknown*, never *none*: Prefect's own observer and Dagster's run
 * monitor ended live runs by mixing the two up.
 */
export type Evidence<T> = { readonly known: true; readonly value: T } | Unknown

/** Evidence that was found. */
export const known = <T>(value: T): Evidence<T> => ({ known: true, value })

/** Evidence that could not be had. */
export const unknown = (why: string): Unknown => ({ known: false, why })

/** What a look-up listed; nothing where it brought no answer. Whoever draws a conclusion asks `known` first. */
export const listed = <T>(evidence: Evidence<readonly T[]> | undefined): readonly T[] =>
  evidence?.known ? evidence.value : []
