import { dataIfFound, reading } from './api.ts'
import type { Api } from './api.ts'

/**
 * Sets `empirical_policy.retry_type`, so that a worker picks the run up again: with `in_process` none does. PATCH
 * replaces the whole policy, hence read-modify-write; the window in between is a request long, and all the
 * engine writes there are the retries of a run that has just started. False when the run is gone.
 */
export const createSetRetryType =
  ({ http, send }: Api) =>
  async (flowRunId: string, retryType: 'reschedule', signal: AbortSignal): Promise<boolean> => {
    const params = { path: { id: flowRunId } }
    const read = reading('setRetryType', signal, flowRunId)
    const found = await http.GET('/flow_runs/{id}', { params, fetch: send(read) })
    if (dataIfFound(read, found) === undefined) return false
    const empirical_policy = { ...found.data?.empirical_policy, retry_type: retryType }
    const written = await http.PATCH('/flow_runs/{id}', {
      params,
      body: { empirical_policy },
      fetch: send(read),
    })
    return written.response.status === 204 || dataIfFound(read, written) !== undefined
  }
