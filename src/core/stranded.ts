import type { Evidence } from './evidence.ts'
import type { PodFact } from './facts.ts'
import type { Instant, Node } from './objects.ts'

/** Pods that were told to end and whose node is gone or not Ready: nobody there can report their end. */
export interface Stranded {
  readonly uids: ReadonlySet<string>
  /** When the last of them was due to be gone, or its node stopped being Ready, whichever came later; 0 for none. */
  readonly since: Instant
}

/** Which of the overdue pods are on nodes that do not serve them; none where the nodes are unknown. */
export function strandedOf(
  overdue: readonly PodFact[],
  nodes: Evidence<readonly Node[]> | undefined,
): Stranded {
  if (!nodes?.known) return { uids: new Set(), since: 0 }
  const stranded = overdue.filter(fact => nodeOf(fact, nodes.value)?.ready !== 'True')
  return {
    uids: new Set(stranded.map(({ pod }) => pod.metadata.uid)),
    since: Math.max(0, ...stranded.map(fact => sinceOf(fact, nodes.value))),
  }
}

/**
 * Pods on a node that should have ended by now. `deletionTimestamp` already holds the grace period: it is when
 * the pod will be gone (kubernetes.io, API concepts). A pod that was never bound has no node to be lost with.
 */
export const overduePods = (pods: readonly PodFact[], now: Instant): readonly PodFact[] =>
  pods.filter(fact => mayRun(fact) && fact.pod.spec.nodeName !== undefined && dueOf(fact) < now)

/** A pod whose processes may still run: neither Succeeded nor Failed, be it Terminating, be its Job gone. */
export const mayRun = ({ pod, gone }: PodFact): boolean =>
  !gone && pod.status.phase !== 'Succeeded' && pod.status.phase !== 'Failed'

const nodeOf = ({ pod }: PodFact, nodes: readonly Node[]): Node | undefined =>
  nodes.find(node => node.name === pod.spec.nodeName)

const sinceOf = (fact: PodFact, nodes: readonly Node[]): Instant =>
  Math.max(dueOf(fact), nodeOf(fact, nodes)?.readySince ?? 0)

/** When a pod is due to be gone; never, where nobody asked for its end. */
const dueOf = ({ pod }: PodFact): Instant => pod.metadata.deletionTimestamp ?? Infinity
