import { isUuid } from '../core/names.ts'
import type { Parent, ParentOf } from '../core/parent.ts'

/** What came of asking Prefect in time: its answer, nothing yet, or an error. */
export type LookedUp =
  | { readonly kind: 'answered'; readonly parent: Parent }
  | { readonly kind: 'late'; readonly deadlineMs: number }
  | { readonly kind: 'failed'; readonly error: unknown }

/** Asks for the parent of a flow run. Always answers, by its deadline, and at once where the parent is known. */
export type LookUp = (flowRunId: string) => LookedUp | Promise<LookedUp>

/**
 * Puts a deadline on `parentOf`. The signal aborts then, but the answer is not waited for either way: a look-up that
 * ignores its signal must not hold up an admission, and may still fill a cache for the next one.
 */
export function createLookUp(parentOf: ParentOf, deadlineMs: number): LookUp {
  const ask = async (flowRunId: string): Promise<LookedUp> => {
    const deadline = new AbortController()
    const late = Promise.withResolvers<LookedUp>()
    const timer = setTimeout(() => {
      deadline.abort()
      late.resolve({ kind: 'late', deadlineMs })
    }, deadlineMs)
    try {
      return await Promise.race([answer(parentOf, flowRunId, deadline.signal), late.promise])
    } finally {
      clearTimeout(timer)
    }
  }
  return flowRunId => {
    // Most reviews are about a run that is known: no signal, timer and race for what takes no time.
    const known = parentOf.known?.(flowRunId)
    return known === undefined ? ask(flowRunId) : answered(flowRunId, known)
  }
}

async function answer(parentOf: ParentOf, flowRunId: string, signal: AbortSignal): Promise<LookedUp> {
  try {
    return answered(flowRunId, await parentOf(flowRunId, signal))
  } catch (error) {
    return { kind: 'failed', error }
  }
}

const answered = (flowRunId: string, parent: Parent): LookedUp =>
  isSensible(parent) ? { kind: 'answered', parent } : nonsense(flowRunId)

/** The id becomes a label value: what is no UUID might be refused by the apiserver, and the pod with it. */
const isSensible = (parent: Parent): boolean => parent.kind !== 'subflow' || isUuid(parent.parentTaskRunId)

const nonsense = (flowRunId: string): LookedUp => ({
  kind: 'failed',
  error: new TypeError(`Prefect's parent task run of flow run ${flowRunId} is no UUID`),
})
