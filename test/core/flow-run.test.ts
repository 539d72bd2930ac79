import t from 'tap'
import type { FlowRun } from '../../src/core/flow-run.ts'
import { isInProcess } from '../../src/core/flow-run.ts'
import { run } from './build/runs.ts'

const plain = ({ workPoolName: _workPool, ...rest }: FlowRun): FlowRun => rest

t.test('who runs in the process of another run', async t => {
  const alone = { hasDeployment: false, names: null }
  const sentences: Readonly<Record<string, readonly [FlowRun, boolean]>> = {
    'a plain call of a flow': [plain(run(alone)), true],
    'a flow that was submitted to a work pool: nothing else tells that it has a Job': [run(alone), false],
    'a run of a deployment that no worker has taken up': [plain(run({ names: null })), false],
    'a run whose Job is told': [plain(run({ hasDeployment: false })), false],
  }
  for (const [sentence, [found, expected]] of Object.entries(sentences))
    t.equal(isInProcess(found), expected, sentence)
})
