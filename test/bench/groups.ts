import type { Group } from './group.ts'

/** All groups, in the order of `GROUP_NAMES`. */
export const GROUPS: readonly Group[] = []
