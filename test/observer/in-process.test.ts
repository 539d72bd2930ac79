import t from 'tap'
import type { FlowRun } from '../../src/core/flow-run.ts'
import type { StateProposal } from '../../src/core/proposal.ts'
import type { InProcessWrites } from '../../src/observer/in-process.ts'
import { crashInProcessSubflows } from '../../src/observer/in-process.ts'
import { FLOW_RUN_ID, run } from '../core/build/runs.ts'
import { JOB_UID, signal } from './scene.ts'

const subflow = (id: string): FlowRun => ({ ...run(), id, state: { ...run().state, id: `state of ${id}` } })

interface Family {
  /** By flow run: its subflows that are alive, by id. */
  readonly children: Readonly<Record<string, readonly string[]>>
  /** Runs that Prefect does not let us move. */
  readonly final?: readonly string[]
  /** A run whose move is where the process dies. */
  readonly diesAt?: string
}

/** Crashes the subflows of the dead run; who was moved, in order, and how. */
async function crashIn({ children, final = [], diesAt }: Family) {
  const moved: string[] = []
  const proposals: StateProposal[] = []
  let reads = 0
  const writes: InProcessWrites = {
    inProcessSubflowsOf: async id => {
      reads += 1
      return (children[id] ?? []).filter(child => !moved.includes(child)).map(subflow)
    },
    proposeState: async (id, proposal) => {
      proposals.push(proposal)
      if (id === diesAt) throw new Error('the process dies')
      if (final.includes(id)) return { kind: 'aborted', reason: 'Run is already in terminal state.' }
      moved.push(id)
      return {
        kind: 'accepted',
        state: { ...run().state, id: `crash of ${id}`, type: 'CRASHED', name: 'Crashed' },
      }
    },
    readStates: async () => [],
    readFlowRun: async () => undefined,
  }
  const parent = { flowRunId: FLOW_RUN_ID, basis: JOB_UID, message: 'why' }
  const ended = crashInProcessSubflows(parent, writes, signal)
  return { ended: await ended.catch(() => undefined), moved, proposals, reads }
}

t.test('whatever ran in the process ends with it, the innermost first', async t => {
  const { ended, moved, proposals } = await crashIn({
    children: { [FLOW_RUN_ID]: ['a', 'b'], a: ['a1'], a1: ['a11'] },
  })
  t.strictSame(new Set(ended), new Set(['a11', 'a1', 'a', 'b']))
  t.ok(moved.indexOf('a11') < moved.indexOf('a1') && moved.indexOf('a1') < moved.indexOf('a'))
  for (const { type, message, transitionId } of proposals)
    t.match({ type, message, transitionId }, { type: 'CRASHED', message: 'why', transitionId: /-5/ })
})

t.test('whoever goes on after an interruption still finds all of them', async t => {
  const children = { [FLOW_RUN_ID]: ['a'], a: ['a1'], a1: ['a11'] }
  const { moved } = await crashIn({ children, diesAt: 'a1' })
  t.strictSame(moved, ['a11'], 'the way to those that are left is still there')
})

t.test('one that has ended by itself does not keep us from what is in it', async t => {
  const { ended } = await crashIn({ children: { [FLOW_RUN_ID]: ['a'], a: ['a1'] }, final: ['a'] })
  t.strictSame(ended, ['a1'])
})

t.test('no subflows: one look', async t => {
  const { ended, reads, proposals } = await crashIn({ children: {} })
  t.strictSame([ended, reads, proposals.length], [[], 1, 0])
})

t.test('a cycle in the data ends', async t => {
  const { reads } = await crashIn({ children: { [FLOW_RUN_ID]: ['a'], a: ['b'], b: ['a'] } })
  t.ok(reads <= 11, `${reads} reads`)
})
