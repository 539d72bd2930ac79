import type { Dispatcher } from 'undici'

import type { Call } from './request.ts'

export function headersOf(call: Call, userAgent: string): Record<string, string> {
  const headers = { accept: call.accept ?? 'application/json', 'user-agent': userAgent }
  return call.body === undefined
    ? headers
    : { ...headers, 'content-type': call.contentType ?? 'application/json' }
}

export function queryOf(query: Call['query']): string {
  const parameters = new URLSearchParams()
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value !== undefined) parameters.append(name, String(value))
  }
  return parameters.size === 0 ? '' : `?${parameters.toString()}`
}

export function header(response: Dispatcher.ResponseData, name: string): string | undefined {
  const value = response.headers[name]
  return Array.isArray(value) ? value[0] : value
}

export function contents(response: Dispatcher.ResponseData, text: string): unknown {
  return header(response, 'content-type')?.startsWith('application/json') ? JSON.parse(text) : text
}
