import type { Access } from './http/access.ts'
import { podLogTail, type PodLogTail } from './pod-log.ts'
import { createReads, type Reads } from './reads.ts'
import { createWrites, type Writes } from './writes.ts'

/** Everything this project asks of and tells Kubernetes, besides watching, leasing and recording events. */
export interface KubernetesApi extends Reads, Writes {
  readonly podLogTail: (tail: PodLogTail, signal: AbortSignal) => Promise<string | undefined>
}

export interface KubernetesApiOptions {
  readonly access: Pick<Access, 'request'>
  /** Where the runs are; empty or absent: in all namespaces. */
  readonly namespaces?: readonly string[]
}

export function createKubernetesApi({ access, namespaces = [] }: KubernetesApiOptions): KubernetesApi {
  return {
    ...createReads({ access, namespaces }),
    ...createWrites(access),
    podLogTail: async (tail, signal) => podLogTail(access, tail, signal),
  }
}
