import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { startLifeguard } from '../cluster/lifeguard.ts'
import { present, startWorld } from './world.ts'

const MAIN = join(import.meta.dirname, '../../src/main.ts')

// Nothing but the defaults: no failure state is set.
const world = await startWorld({ isReporting: true })
const { node, prefect, controlPlane } = world
t.teardown(() => world[Symbol.asyncDispose]())

const killed = async () => {
  const run = await world.startRun()
  const pod = await run.runningPod()
  await run.reportRunning()
  node.kill(pod.metadata.uid, 'OOMKilled')
  return run
}

t.test('out of the box a death is told of, and the state is left as it is', async t => {
  const run = await killed()
  const line = await world
    .lifeguard()
    .waitForLine(
      'the report',
      ({ flowRunId, verdict }) => flowRunId === run.flowRunId && verdict === 'report',
    )
  t.match(line, { code: 'oom_killed', reason: 'JobFailed', outcome: 'reported' })
  t.match(line.msg, /it would have been crashed/)
  const job = await present('the annotation', async () => {
    const found = await run.job()
    return found.metadata.annotations?.['prefect-lifeguard.dev/verdict'] === undefined ? undefined : found
  })
  t.match(job.metadata.annotations?.['prefect-lifeguard.dev/verdict'], /^reported JobFailed oom_killed/)
  t.equal((await prefect.api.readFlowRun(run.flowRunId)).state?.type, 'RUNNING')
})

t.test('explain tells the same from outside, and a recorded case replays to the same verdict', async t => {
  const run = await killed()
  await world
    .lifeguard()
    .waitForLine(
      'the report',
      ({ flowRunId, verdict }) => flowRunId === run.flowRunId && verdict === 'report',
    )
  const file = join(t.testdir(), 'case.json')
  const env = { ...process.env, KUBECONFIG: controlPlane.kubeconfig, PREFECT_API_URL: prefect.apiUrl }
  const explain = async (...args: string[]) => {
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, 'explain', ...args], { env })
    return stdout
  }
  const live: unknown = JSON.parse(await explain(run.flowRunId, '--record', file, '--json'))
  t.match(live, {
    verdict: { kind: 'report', would: 'crash', reason: 'JobFailed', diagnosis: { code: 'oom_killed' } },
  })
  t.strictSame(JSON.parse(await explain('--file', file, '--json')), live, 'the file says the same')
  t.match(
    await explain('--file', file),
    /> runIsDead: report JobFailed[^]*\[oom_killed\]/,
    'and so it does to people',
  )
})

t.test('set to failed, a dead run becomes Failed, by way of Crashed', async t => {
  await world.lifeguard().stop()
  const { kubeconfig } = controlPlane
  await using lifeguard = await startLifeguard({
    kubeconfig,
    apiUrl: prefect.apiUrl,
    failureState: 'failed',
  })
  const run = await killed()
  await prefect.api.waitForState(run.flowRunId, ['FAILED'])
  await lifeguard.waitForLine(
    'the verdict',
    ({ flowRunId, outcome }) => flowRunId === run.flowRunId && outcome === 'failed',
  )
  const states = (await prefect.api.readStates(run.flowRunId)).map(({ type }) => type)
  t.strictSame(states.slice(-3), ['RUNNING', 'CRASHED', 'FAILED'])
})
