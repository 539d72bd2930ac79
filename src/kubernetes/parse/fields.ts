/**
 * Reading JSON by hand. A schema library would read the same fields at a tenth of the speed, and 35,000 Jobs come
 * at once; every function throws a TypeError that names the field.
 */

export type Fields = Readonly<Record<string, unknown>>

export const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const EMPTY: Fields = Object.freeze({})

const odd = (where: string, expected: string, value: unknown): TypeError =>
  new TypeError(`${where}: expected ${expected}, found ${value === null ? 'null' : typeof value}`)

/** An object that must be there. */
export function record(value: unknown, where: string): Fields {
  if (!isRecord(value)) throw odd(where, 'an object', value)
  return value
}

/** An object, empty when absent or null. */
export const recordOrEmpty = (value: unknown, where: string): Fields =>
  value === undefined || value === null ? EMPTY : record(value, where)

/** A list, empty when absent or null (Go writes a nil slice as null). */
export function list(value: unknown, where: string): readonly unknown[] {
  if (value === undefined || value === null) return []
  if (!Array.isArray(value)) throw odd(where, 'a list', value)
  return value
}

export function string(value: unknown, where: string): string {
  if (typeof value !== 'string') throw odd(where, 'a string', value)
  return value
}

/** A string that may be absent; of another type it counts as absent. */
export const optionalString = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined

export function number(value: unknown, where: string): number {
  if (typeof value !== 'number') throw odd(where, 'a number', value)
  return value
}

/** A number that may be absent; of another type it counts as absent. */
export const optionalNumber = (value: unknown): number | undefined =>
  typeof value === 'number' ? value : undefined

/** A count, 0 when absent: Kubernetes omits zeroes. */
export const count = (value: unknown, where: string): number =>
  value === undefined || value === null ? 0 : number(value, where)

/** A time in RFC 3339, as milliseconds since 1970. */
export function instant(value: unknown, where: string): number {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN
  if (Number.isNaN(time)) throw odd(where, 'a time in RFC 3339', value)
  return time
}

/** `{ [key]: value }`, or nothing when there is no value: an absent field stays absent. */
export function present<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V }
export function present(key: string, value: unknown): Fields {
  return value === undefined ? EMPTY : { [key]: value }
}

/** As {@link instant}, absent when absent or null. */
export const optionalInstant = (value: unknown, where: string): number | undefined =>
  value === undefined || value === null ? undefined : instant(value, where)
