/** What a watch tells about an object. The same shape as the `kubernetes` room's, which main connects. */
export interface Change<T> {
  readonly type: 'added' | 'modified' | 'deleted'
  /** As it is now; of a deleted one, as it was last seen. */
  readonly object: T
  /** The deletion was not seen, only that a list lacks the object. */
  readonly finalStateUnknown?: boolean
  /** Deleted without a deletionTimestamp: removed at once, or only its labels no longer match. */
  readonly leftSelector?: boolean
}
