import { apiserver } from './apiserver.ts'
import { cost } from './cost/cost.ts'
import type { Group } from './group.ts'
import { reaction } from './reaction/reaction.ts'
import { scale } from './scale/scale.ts'
import { webhook } from './webhook.ts'

/** All groups, in the order of `GROUP_NAMES`. */
export const GROUPS: readonly Group[] = [webhook, apiserver, reaction, cost, scale]
