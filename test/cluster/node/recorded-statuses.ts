import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { pods } from '../resources.ts'
import type { Pod } from '../resources.ts'

const RECORDED = new URL('../../fixtures/recorded/', import.meta.url)

const lineSchema = z.object({ object: pods.schema })

/** What differs between any two pods that fare the same. */
const LEFT_OUT =
  /^(qosClass|lastTransitionTime|image|imageID|volumeMounts|resources|allocatedResources|podIPs?|hostIPs?)$/
/** What differs, but must be there or not be there: told apart from its absence only. */
const PRESENCE = /^(startTime|startedAt|finishedAt|containerID)$/

/**
 * The statuses a real kubelet wrote for the first pod of a recording, in order, each one that is not like the one before
 * it; up to the first that matches `until`.
 */
export async function recordedStatuses(recording: string, until?: RegExp): Promise<object[]> {
  const text = await readFile(new URL(`${recording}/pods.ndjson`, RECORDED), 'utf8')
  const all = text
    .trim()
    .split('\n')
    .map(line => lineSchema.parse(JSON.parse(line)).object)
  const statuses = all.filter(({ metadata }) => metadata.uid === all[0]?.metadata.uid).map(normalStatus)
  const different = statuses.filter(
    (status, index) => index === 0 || JSON.stringify(status) !== JSON.stringify(statuses[index - 1]),
  )
  const last = until ? different.findIndex(status => until.test(JSON.stringify(status))) : -1
  return last === -1 ? different : different.slice(0, last + 1)
}

/** A pod's status with everything of this one pod taken out, and what an object or list of conditions is ordered by. */
export function normalStatus({ metadata: { name, namespace, uid }, status }: Pod): object {
  const text = JSON.stringify({ ...status, hasIP: 'podIP' in status }, (key, value: unknown) =>
    simplify(key, value),
  )
  return JSON.parse(text.replaceAll(`${name}_${namespace}(${uid})`, '<pod>'))
}

function simplify(key: string, value: unknown): unknown {
  if (LEFT_OUT.test(key)) return undefined
  if (PRESENCE.test(key)) return value === null ? null : '<some>'
  if (key === 'conditions') return z.array(conditionSchema).parse(value).toSorted(byType)
  return isPlainObject(value) ? sorted(value) : value
}

const conditionSchema = z.looseObject({ type: z.string() })

const byType = (a: { readonly type: string }, b: { readonly type: string }): number =>
  a.type.localeCompare(b.type)

const isPlainObject = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const sorted = (value: object): object =>
  Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => a.localeCompare(b)))
