import { parseNames } from './answers.ts'
import { dataOf, reading } from './api.ts'
import type { Api } from './api.ts'

/** Which of these work pools there are, in one request. */
export const createExistingWorkPools =
  ({ http, send }: Api) =>
  async (names: readonly string[], signal: AbortSignal): Promise<ReadonlySet<string>> => {
    const call = reading('existingWorkPools', signal)
    const body = { work_pools: { name: { any_: [...names] } } }
    const result = await http.POST('/work_pools/filter', { body, fetch: send(call) })
    return new Set(parseNames(dataOf(call, result), 'work pools'))
  }
