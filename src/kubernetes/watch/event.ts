import { number, optionalString, record, string, type Fields } from '../parse/fields.ts'
import { statusError, type KubernetesError } from '../http/errors.ts'

/** One line of a watch. */
export type WatchEvent =
  | {
      readonly kind: 'change'
      readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
      readonly object: unknown
      readonly resourceVersion: string
    }
  | { readonly kind: 'bookmark'; readonly resourceVersion: string }
  | { readonly kind: 'error'; readonly error: KubernetesError }

/** Reads a line; throws a TypeError, or JSON's SyntaxError, where it is no watch event. `path` is for errors. */
export function parseWatchEvent(line: string, path: string): WatchEvent {
  const json: unknown = JSON.parse(line)
  const event = record(json, 'the watch event')
  const object = record(event['object'], 'object')
  switch (event['type']) {
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED':
      return { kind: 'change', type: event['type'], object, resourceVersion: resourceVersionOf(object) }
    case 'BOOKMARK':
      return { kind: 'bookmark', resourceVersion: resourceVersionOf(object) }
    case 'ERROR':
      return {
        kind: 'error',
        error: statusError({ method: 'GET', path, status: number(object['code'], 'object.code') }, object),
      }
    default:
      throw new TypeError(
        `type: expected a watch event's type, found ${optionalString(event['type']) ?? 'none'}`,
      )
  }
}

const resourceVersionOf = (object: Fields): string =>
  string(record(object['metadata'], 'object.metadata')['resourceVersion'], 'object.metadata.resourceVersion')
