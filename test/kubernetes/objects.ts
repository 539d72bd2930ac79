/** Objects as an apiserver sends them, in as few fields as may be. */

export interface JobOptions {
  readonly name?: string
  readonly uid?: string
  readonly version?: string
  readonly labels?: object
  readonly metadata?: object
  readonly status?: object
}

export const jobJson = ({
  name = 'etl',
  uid = `uid-of-${name}`,
  version = '1',
  labels,
  metadata,
  status,
}: JobOptions = {}): object => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: {
    name,
    namespace: 'team',
    uid,
    resourceVersion: version,
    creationTimestamp: '2026-01-02T03:04:05Z',
    ...(labels && { labels }),
    ...metadata,
  },
  spec: {},
  ...(status && { status }),
})

export const listJson = (items: readonly object[], version: string, next?: string): object => ({
  kind: 'JobList',
  apiVersion: 'batch/v1',
  metadata: { resourceVersion: version, ...(next !== undefined && { continue: next }) },
  items,
})

export const watchLine = (type: string, object: object): string => `${JSON.stringify({ type, object })}\n`

export const bookmark = (version: string): string =>
  watchLine('BOOKMARK', { kind: 'Job', metadata: { resourceVersion: version, creationTimestamp: null } })

export async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}
