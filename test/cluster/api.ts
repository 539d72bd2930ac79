import { setTimeout as sleep } from 'node:timers/promises'
import { Agent } from 'undici'
import type { Dispatcher } from 'undici'
import { z } from 'zod'
import type { Resource } from './resources.ts'

export interface ApiOptions {
  /** `https://127.0.0.1:<port>` */
  readonly server: string
  /** Certificate of the authority that signed the server's, PEM. */
  readonly ca: string
  readonly token: string
}

/** Which object. The namespace is `default` where absent, and none for kinds without. */
export interface Reference {
  readonly namespace?: string | undefined
  readonly name: string
}

export interface Query {
  /** All namespaces where absent. */
  readonly namespace?: string
  readonly labelSelector?: string
  readonly fieldSelector?: string
}

export interface List<T> {
  readonly items: T[]
  readonly resourceVersion: string
}

export interface Patch {
  /** Merge where absent. */
  readonly type?: 'merge' | 'strategic-merge' | 'json' | 'apply'
  readonly body: unknown
  readonly subresource?: string
}

/** What somebody waits for. */
export interface Condition<T> {
  readonly until: (value: T) => boolean
  /** Ends the sentence "waiting for pod default/x ...": `to be Running`. */
  readonly what: string
  /** 30 s where absent. */
  readonly timeoutMs?: number
  /** Calls the wait off. */
  readonly signal?: AbortSignal
}

export interface Watch<T> {
  readonly query: Query
  readonly resourceVersion: string
  readonly signal: AbortSignal
  /** Called in order; the next event is read when this has returned. */
  readonly onEvent: (event: { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: T }) => void
}

/** The Kubernetes API for tests: objects in and out, errors that say what was asked and what was answered. */
export interface Api {
  /** Undefined when there is none. */
  readonly get: <T>(resource: Resource<T>, reference: Reference) => Promise<T | undefined>
  readonly list: <T>(resource: Resource<T>, query?: Query) => Promise<List<T>>
  /** `apiVersion`, `kind` and namespace `default` are filled in. */
  readonly create: <T>(resource: Resource<T>, object: NewObject) => Promise<T>
  readonly patch: <T>(resource: Resource<T>, reference: Reference, patch: Patch) => Promise<T>
  /** `options` are DeleteOptions, such as `{ propagationPolicy: 'Background' }`. Nothing happens when it is gone. */
  readonly remove: (resource: Resource<unknown>, reference: Reference, options?: object) => Promise<void>
  /** One watch request. Resolves when the server ends it. @throws ApiError, status 410 included. */
  readonly watch: <T>(resource: Resource<T>, watch: Watch<T>) => Promise<void>
  /** Any path, for example `/readyz` or a pod's log. */
  readonly text: (path: string) => Promise<string>
  readonly waitFor: <T>(resource: Resource<T>, reference: Reference, condition: Condition<T>) => Promise<T>
  readonly waitUntilGone: (
    resource: Resource<unknown>,
    reference: Reference,
    timeoutMs?: number,
  ) => Promise<void>
  readonly close: () => Promise<void>
}

export interface NewObject {
  readonly metadata: {
    readonly name?: string
    readonly generateName?: string
    readonly namespace?: string
    readonly [field: string]: unknown
  }
  readonly [field: string]: unknown
}

/** The API answered, and not with what was asked for. */
class ApiError extends Error {
  readonly status: number
  constructor(message: string, status: number) {
    super(message)
    this.name = 'ApiError'
    this.status = status
  }
}

const REQUEST_MS = 30_000
const POLL_MS = 50
/** The server ends a watch after so long; ours are begun anew then. */
const WATCH_SECONDS = 300

const CONTENT_TYPES = {
  merge: 'application/merge-patch+json',
  'strategic-merge': 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
} as const

const listSchema = z.looseObject({
  metadata: z.looseObject({ resourceVersion: z.string() }),
  items: z.array(z.unknown()),
})
const statusSchema = z.looseObject({
  kind: z.literal('Status'),
  message: z.string().default(''),
  code: z.number().default(0),
})
const watchLineSchema = z.looseObject({ type: z.string(), object: z.unknown() })

interface Call {
  readonly method: Dispatcher.HttpMethod
  readonly path: string
  readonly body?: unknown
  readonly contentType?: string
  readonly signal?: AbortSignal
}

/** A client that keeps its connections. Close it when done. */
export function createApi({ server, ca, token }: ApiOptions): Api {
  const agent = new Agent({ connect: { ca }, bodyTimeout: (WATCH_SECONDS + 60) * 1_000 })

  const send = ({ method, path, body, contentType = 'application/json', signal }: Call) =>
    agent.request({
      origin: server,
      method,
      path,
      headers: { authorization: `Bearer ${token}`, 'content-type': contentType, accept: 'application/json' },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal ?? AbortSignal.timeout(REQUEST_MS),
    })

  const call = async (options: Call): Promise<string> => {
    const response = await send(options)
    const text = await response.body.text()
    if (response.statusCode >= 400) throw apiError(options, { status: response.statusCode, text })
    return text
  }

  const get: Api['get'] = async (resource, reference) => {
    try {
      return parse(resource, await call({ method: 'GET', path: pathOf(resource, reference) }))
    } catch (error) {
      if (isStatus(error, 404)) return undefined
      throw error
    }
  }

  return {
    get,
    list: async (resource, query = {}) => {
      const text = await call({ method: 'GET', path: collectionPath(resource, query) })
      const { items, metadata } = listSchema.parse(JSON.parse(text))
      return {
        items: items.map(item => resource.schema.parse(item)),
        resourceVersion: metadata.resourceVersion,
      }
    },
    create: async (resource, object) => {
      const { apiVersion, kind } = resource
      const path = collectionPath(resource, { namespace: object.metadata.namespace ?? 'default' })
      return parse(resource, await call({ method: 'POST', path, body: { apiVersion, kind, ...object } }))
    },
    patch: async (resource, reference, { type = 'merge', body, subresource }) => {
      const path = pathOf(resource, reference) + (subresource === undefined ? '' : `/${subresource}`)
      const suffix = type === 'apply' ? '?fieldManager=test&force=true' : ''
      const contentType = CONTENT_TYPES[type]
      return parse(resource, await call({ method: 'PATCH', path: path + suffix, body, contentType }))
    },
    remove: async (resource, reference, options = {}) => {
      try {
        await call({ method: 'DELETE', path: pathOf(resource, reference), body: options })
      } catch (error) {
        if (!isStatus(error, 404)) throw error
      }
    },
    watch: async (resource, { query, resourceVersion, signal, onEvent }) => {
      const more = { watch: 'true', resourceVersion, timeoutSeconds: String(WATCH_SECONDS) }
      const options: Call = { method: 'GET', path: collectionPath(resource, query, more), signal }
      const response = await send(options)
      if (response.statusCode >= 400) {
        throw apiError(options, { status: response.statusCode, text: await response.body.text() })
      }
      for await (const line of linesOf(response.body)) {
        const { type, object } = watchLineSchema.parse(JSON.parse(line))
        if (type === 'ERROR') throw apiError(options, { status: 0, text: JSON.stringify(object) })
        if (isChange(type)) onEvent({ type, object: resource.schema.parse(object) })
      }
    },
    text: path => call({ method: 'GET', path }),
    waitFor: async (resource, reference, condition) => {
      const found = await eventually(() => get(resource, reference), {
        ...condition,
        until: object => object !== undefined && condition.until(object),
        what: `${nameOf(resource, reference)} ${condition.what}`,
      })
      // `until` has seen it; only the compiler has not.
      if (found === undefined) throw new Error(`${nameOf(resource, reference)} is gone`)
      return found
    },
    waitUntilGone: async (resource, reference, timeoutMs = 30_000) => {
      const what = `${nameOf(resource, reference)} to be gone`
      await eventually(() => get(resource, reference), {
        until: object => object === undefined,
        what,
        timeoutMs,
      })
    },
    close: () => agent.destroy(),
  }
}

/**
 * Asks again and again until the answer is right, and gives it. A question that fails is asked again, too: an API that
 * restarts refuses connections.
 * @throws when the time is over, with the last answer or error; when it is called off.
 */
export async function eventually<T>(
  read: () => Promise<T>,
  { until, what, timeoutMs = 30_000, signal }: Condition<T>,
): Promise<T> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const answer = await read().then(
      value => ({ value, seen: `last seen: ${shorten(value)}` }),
      (error: unknown) => ({ seen: `last error: ${String(error)}` }),
    )
    if ('value' in answer && until(answer.value)) return answer.value
    if (Date.now() > deadline) {
      throw new Error(`gave up after ${timeoutMs / 1_000} s waiting for ${what}; ${answer.seen}`)
    }
    await sleep(POLL_MS, undefined, signal ? { signal } : {})
  }
}

/** The status says most; everything else of a pod would fill the screen. */
function shorten(value: unknown): string {
  const status = typeof value === 'object' && value !== null && 'status' in value ? value.status : value
  const text = JSON.stringify(status) ?? 'nothing'
  return text.length > 2_000 ? `${text.slice(0, 2_000)}...` : text
}

const nameOf = (
  { kind, namespaced }: Resource<unknown>,
  { namespace = 'default', name }: Reference,
): string => `${kind} ${namespaced ? `${namespace}/` : ''}${name}`

/** Whether an error is this answer of the API. */
export const isStatus = (error: unknown, status: number): boolean =>
  error instanceof ApiError && error.status === status

const parse = <T>(resource: Resource<T>, text: string): T => resource.schema.parse(JSON.parse(text))

const pathOf = (resource: Resource<unknown>, { namespace = 'default', name }: Reference): string =>
  `${collectionPath(resource, { namespace })}/${name}`

function collectionPath(
  { apiVersion, plural, namespaced }: Resource<unknown>,
  { namespace, ...selectors }: Query,
  more: Readonly<Record<string, string>> = {},
): string {
  const root = apiVersion === 'v1' ? '/api/v1' : `/apis/${apiVersion}`
  const place = namespaced && namespace !== undefined ? `/namespaces/${namespace}` : ''
  const query = new URLSearchParams({ ...selectors, ...more }).toString()
  return `${root}${place}/${plural}${query ? `?${query}` : ''}`
}

const isChange = (type: string): type is 'ADDED' | 'MODIFIED' | 'DELETED' =>
  type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED'

function apiError(
  { method, path }: Call,
  answer: { readonly status: number; readonly text: string },
): ApiError {
  const { message, code } = readStatus(answer.text)
  const status = answer.status || code
  return new ApiError(
    `${method} ${path} was answered ${status}: ${message || answer.text.slice(0, 500)}`,
    status,
  )
}

function readStatus(text: string): { message: string; code: number } {
  try {
    return statusSchema.parse(JSON.parse(text))
  } catch {
    return { message: '', code: 0 }
  }
}

async function* linesOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines.filter(line => line !== '')
  }
}
