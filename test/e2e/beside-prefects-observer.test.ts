import t from 'tap'
import { startWorld } from './world.ts'

const world = await startWorld({ observer: true })
const { node, prefect } = world
t.teardown(() => world[Symbol.asyncDispose]())

const FAIL_ON_137 = {
  rules: [
    { action: 'FailJob', onExitCodes: { containerName: 'prefect-job', operator: 'In', values: [137] } },
  ],
}

t.test('a death that both see ends Crashed, whoever is faster, and its diagnosis is told', async t => {
  const run = await world.startRun()
  const pod = await run.runningPod()
  await run.reportRunning()
  node.kill(pod.metadata.uid, 'OOMKilled')
  await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  const line = await world
    .lifeguard()
    .waitForLine('the diagnosis', ({ flowRunId, code }) => flowRunId === run.flowRunId && code !== undefined)
  t.match(line, { code: 'oom_killed' })
  const states = await prefect.api.readStates(run.flowRunId)
  t.equal(states.filter(({ type }) => type === 'CRASHED').length, 1, 'said once')
})

t.test('a death that it does not count ends, too', async t => {
  const run = await world.startRun({ jobVariables: { backoff_limit: 3, pod_failure_policy: FAIL_ON_137 } })
  const pod = await run.runningPod()
  await run.reportRunning()
  node.kill(pod.metadata.uid, 'SIGKILL')
  const end = await prefect.api.waitForState(run.flowRunId, ['CRASHED'])
  t.match(end.state?.message, /^\[pod_failure_policy\]/)
})

t.test('a run that ends well is left alone by both', async t => {
  const run = await world.startRun({
    isReal: true,
    acts: ['kill', 'return'],
    jobVariables: { backoff_limit: 2, command: 'python -m prefect.engine' },
  })
  const end = await prefect.api.waitForState(run.flowRunId, ['COMPLETED', 'CRASHED', 'FAILED'])
  t.equal(end.state?.type, 'COMPLETED')
})
