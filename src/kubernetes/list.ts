import type { Access } from './http/access.ts'
import { parsePage, type Page } from './parse/metadata.ts'

/** What is listed or watched. */
export interface Scope {
  /** `/apis/batch/v1/jobs`, or the same within a namespace. */
  readonly path: string
  readonly labelSelector?: string | undefined
  readonly fieldSelector?: string | undefined
  /** Only names, labels and the like are wanted: the apiserver sends a `PartialObjectMetadata` for each. */
  readonly metadataOnly?: boolean | undefined
}

export interface ListOptions {
  readonly access: Pick<Access, 'request'>
  readonly scope: Scope
  readonly pageSize: number
  readonly signal: AbortSignal
  /** Attempts for each page; see ApiRequest. */
  readonly attempts?: number
}

/** Source: kubernetes.io, "Alternate representations of resources". */
const METADATA_ONLY = 'as=PartialObjectMetadata;g=meta.k8s.io;v=v1'
const METADATA_LIST_ONLY = 'as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'

export const acceptOf = (scope: Scope, what: 'list' | 'watch'): string => {
  if (!scope.metadataOnly) return 'application/json'
  return `application/json;${what === 'list' ? METADATA_LIST_ONLY : METADATA_ONLY}`
}

export const selectorsOf = ({ labelSelector, fieldSelector }: Scope): Record<string, string | undefined> => ({
  labelSelector,
  fieldSelector,
})

/**
 * The pages of a consistent list: no `resourceVersion` is asked for, so the first page is as new as the data, and the
 * others are of the same moment. All have the same resource version. An expired continuation throws a 410: begin anew.
 */
export async function* pagesOf(options: ListOptions, next?: string): AsyncGenerator<Page> {
  const { access, scope, pageSize, signal, attempts } = options
  const page = await access.request({
    method: 'GET',
    path: scope.path,
    query: { ...selectorsOf(scope), limit: pageSize, continue: next },
    accept: acceptOf(scope, 'list'),
    signal,
    ...(attempts !== undefined && { attempts }),
    parse: parsePage,
  })
  yield page
  if (page.next !== undefined) yield* pagesOf(options, page.next)
}

/** All items of a consistent list, unread. */
export async function allOf(options: ListOptions): Promise<readonly unknown[]> {
  const items: unknown[] = []
  for await (const page of pagesOf(options)) items.push(...page.items)
  return items
}
