import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { z } from 'zod'
import { startPrefect } from '../cluster/prefect.ts'
import { waitFor } from '../cluster/prefect/api.ts'
import { README } from './readme.ts'

const prefect = await startPrefect()
t.teardown(() => prefect[Symbol.asyncDispose]())

t.test('the automation that the README shows pauses the deployment of a run with that diagnosis', async t => {
  const [, automation = ''] = /```yaml\n(name: .*?)```/s.exec(await readFile(README, 'utf8')) ?? []
  const file = join(prefect.folder, 'automation.yaml')
  await writeFile(file, automation)
  const { env } = prefect
  const deployments = await prefect.setUpFlows({})
  await promisify(execFile)('prefect', ['automation', 'create', '--from-file', file], { env })
  await diagnosed('oom_killed', deployments['child-with-retry'])
  await diagnosed('image_pull_backoff', deployments.child)
  await waitFor('the deployment to be paused', async () => (await isPaused(deployments.child)) || undefined)
  t.equal(
    await isPaused(deployments['child-with-retry']),
    false,
    'another diagnosis, which came first, does not',
  )
})

/** An event as the observer sends it; that it does is test/e2e/main-job.test.ts. */
async function diagnosed(code: string, deploymentId: string): Promise<void> {
  const event = {
    id: randomUUID(),
    occurred: new Date().toISOString(),
    event: 'prefect-lifeguard.flow-run.reported',
    resource: {
      'prefect.resource.id': `prefect.flow-run.${randomUUID()}`,
      'prefect-lifeguard.diagnosis': code,
    },
    related: [
      { 'prefect.resource.id': `prefect.deployment.${deploymentId}`, 'prefect.resource.role': 'deployment' },
    ],
    payload: {},
  }
  await prefect.api.send('POST', '/events', [event])
}

async function isPaused(deploymentId: string): Promise<boolean> {
  const answer = await prefect.api.send('GET', `/deployments/${deploymentId}`)
  return z.object({ paused: z.boolean() }).parse(answer).paused
}
