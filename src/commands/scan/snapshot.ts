import { FLOW_RUN_ID_LABEL } from '../../core/names.ts'
import type { Job, ObjectMeta, Pod } from '../../core/objects.ts'
import { pagesOf } from '../../kubernetes/list.ts'
import { parseJob } from '../../kubernetes/parse/job.ts'
import { parsePod } from '../../kubernetes/parse/pod.ts'
import type { Resource } from '../../kubernetes/paths.ts'
import { collectionPaths, JOBS, PODS } from '../../kubernetes/paths.ts'
import type { Seen } from '../../observer/reads.ts'
import type { Foundation } from '../foundation.ts'

const PAGE_SIZE = 500

/** What the cluster holds of a flow run. */
export type Snapshot = (flowRunId: string) => Seen

/**
 * Lists Jobs and pods of all flow runs at once, whether or not they carry our label: it takes the place of a watch,
 * so that a run that lives costs no request of its own.
 */
export async function snapshotOf(
  foundation: Pick<Foundation, 'access' | 'config'>,
  signal: AbortSignal,
): Promise<Snapshot> {
  const [jobs, pods] = await Promise.all([
    listed(foundation, { resource: JOBS, parse: parseJob }, signal),
    listed(foundation, { resource: PODS, parse: parsePod }, signal),
  ])
  const jobsOf = byFlowRun(jobs)
  const podsOf = byFlowRun(pods)
  return flowRunId => ({
    jobs: (jobsOf.get(flowRunId) ?? []).map((job: Job) => ({ job })),
    pods: (podsOf.get(flowRunId) ?? []).map((pod: Pod) => ({ pod })),
  })
}

interface Kind<T> {
  readonly resource: Resource
  readonly parse: (json: unknown) => T
}

async function listed<T>(
  { access, config }: Pick<Foundation, 'access' | 'config'>,
  { resource, parse }: Kind<T>,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const lists = collectionPaths(resource, config.namespaces).map(async path => {
    const scope = { path, labelSelector: FLOW_RUN_ID_LABEL }
    const items: T[] = []
    for await (const page of pagesOf({ access, scope, pageSize: PAGE_SIZE, signal }))
      items.push(...page.items.map(parse))
    return items
  })
  return (await Promise.all(lists)).flat()
}

const byFlowRun = <T extends { readonly metadata: ObjectMeta }>(
  objects: readonly T[],
): ReadonlyMap<string, readonly T[]> =>
  Map.groupBy(objects, ({ metadata }) => metadata.labels[FLOW_RUN_ID_LABEL] ?? '')
