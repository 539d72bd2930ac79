export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/** Method and path of everything src/prefect asks for; the drift test compares exactly these. */
const OPERATIONS: Readonly<Record<string, readonly string[]>> = {
  '/admin/version': ['get'],
  '/csrf-token': ['get'],
  '/events': ['post'],
  '/events/filter': ['post'],
  '/flow_run_states/': ['get'],
  '/flow_runs/filter': ['post'],
  '/flow_runs/{id}': ['get', 'patch'],
  '/flow_runs/{id}/set_state': ['post'],
  '/logs/': ['post'],
  '/work_pools/filter': ['post'],
}

const PROSE: ReadonlySet<string> = new Set(['description', 'title', 'summary', 'tags', 'example', 'examples'])

export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The object under a key; an empty one when there is none. */
const at = (value: Json | undefined, key: string): JsonObject => {
  const found = isObject(value) ? value[key] : undefined
  return isObject(found) ? found : {}
}

const isProse = (key: string, value: Json): boolean => PROSE.has(key) && !isObject(value)

/** A copy without prose, keys in order, so that two servers' documents can be compared as text. */
const withoutProse = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(withoutProse)
  if (!isObject(value)) return value
  const entries = Object.entries(value).filter(([key, inner]) => !isProse(key, inner))
  return Object.fromEntries(
    entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, withoutProse(inner)]),
  )
}

const operationsOf = (document: JsonObject): JsonObject =>
  Object.fromEntries(
    Object.entries(OPERATIONS).map(([path, methods]) => {
      const offered = at(at(document, 'paths'), path)
      return [path, Object.fromEntries(methods.map(method => [method, at(offered, method)]))]
    }),
  )

const referencesIn = (value: Json): readonly string[] =>
  Array.from(JSON.stringify(value).matchAll(/"#\/components\/schemas\/([^"]+)"/g), ([, name = '']) => name)

/** Every schema that is reached from the operations. */
const schemasFor = (paths: JsonObject, schemas: JsonObject): JsonObject => {
  const wanted = new Set(referencesIn(paths))
  // A Set hands out what is added while it is walked: this is the whole closure.
  for (const name of wanted) for (const next of referencesIn(at(schemas, name))) wanted.add(next)
  return Object.fromEntries(Array.from(wanted, name => [name, at(schemas, name)]))
}

/**
 * The part of Prefect's OpenAPI document that this project relies on: the operations it uses and the schemas they
 * need, without prose.
 */
export const pruned = (document: JsonObject): Json => {
  const paths = operationsOf(document)
  return withoutProse({
    openapi: document['openapi'] ?? '',
    info: { title: 'Prefect REST API, as far as used', version: at(document, 'info')['version'] ?? '' },
    paths,
    components: { schemas: schemasFor(paths, at(at(document, 'components'), 'schemas')) },
  })
}
