import { performance } from 'node:perf_hooks'

import type { Exchange, HttpRequest } from './connection.ts'
import type { Metrics } from './metrics.ts'

/** How a request ended that brought no answer. */
const endOf = (signal: AbortSignal): string => {
  if (!signal.aborted) return 'unreachable'
  return signal.reason instanceof DOMException && signal.reason.name === 'TimeoutError'
    ? 'timeout'
    : 'aborted'
}

/** In front of an id, whatever the id is: a label must not have as many values as there are runs. */
const ID = /(\/flow_runs\/)(?!filter$)[^/]+/

/** Method and path as Prefect's API reference has them, such as `POST /flow_runs/{id}/set_state`. */
export const endpointOf = ({ method, url }: Pick<HttpRequest, 'method' | 'url'>, apiUrl: string): string => {
  const [path = ''] = url.slice(apiUrl.length).split('?')
  return `${method} ${path.replace(ID, '$1{id}')}`
}

/** The exchange, each request counted by operation, endpoint and how it ended. */
export const measured =
  (exchange: Exchange, apiUrl: string, metrics: Pick<Metrics, 'request'>): Exchange =>
  async (request, signal) => {
    const start = performance.now()
    const done = (status: string): void => {
      const { operation } = request
      const seconds = (performance.now() - start) / 1000
      metrics.request({ operation, endpoint: endpointOf(request, apiUrl), status, seconds })
    }
    try {
      const answer = await exchange(request, signal)
      done(String(answer.status))
      return answer
    } catch (error) {
      done(endOf(signal))
      throw error
    }
  }
