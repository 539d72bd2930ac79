import { parseArgs } from 'node:util'
import { startControlPlane } from '../cluster/control-plane.ts'
import { startLifeguard } from '../cluster/lifeguard.ts'
import { startPrefect } from '../cluster/prefect.ts'
import { startProcessNode } from '../cluster/process-node.ts'
import type { Outcome, Stage } from './act.ts'
import { perform } from './act.ts'
import { render } from './timeline.ts'

const USAGE = `usage: npm run demo [-- --json]

Starts a Kubernetes control plane and a Prefect server on this machine, has a parent flow run a subflow in a pod,
kills the pod, and shows what happens: with prefect-lifeguard, and without. Takes everything down again.

  --json   print one JSON object instead, for programs
`

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
})

const say = (text: string): void => {
  process.stderr.write(`${text}\n`)
}

/** Runs something worth waiting for, and says how long it took. */
async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const began = Date.now()
  process.stderr.write(`  ${what} ... `)
  const result = await work()
  process.stderr.write(`${((Date.now() - began) / 1000).toFixed(1)} s\n`)
  return result
}

async function play(): Promise<{ with: Outcome; without: Outcome }> {
  say(
    'Setting the stage (the first time ever this builds Kubernetes and installs Prefect: about ten minutes)',
  )
  await using controlPlane = await step('Kubernetes: etcd, apiserver, controller manager, scheduler', () =>
    startControlPlane(),
  )
  await using node = await step('a node that runs pods as processes', () =>
    startProcessNode({ cluster: controlPlane }),
  )
  await using prefect = await step('Prefect: server', () => startPrefect())
  await step('Prefect: work pool and deployments', () => prefect.setUpFlows({}))
  await step('Prefect: Kubernetes worker, its own observer switched off', () =>
    prefect.startWorker({ kubeconfig: controlPlane.kubeconfig }),
  )
  const stage: Stage = { controlPlane, node, prefect }
  return { with: await actWith(stage), without: await actWithout(stage) }
}

async function actWith(stage: Stage): Promise<Outcome> {
  say('With prefect-lifeguard')
  await using lifeguard = await step('prefect-lifeguard: webhooks registered, observing', () =>
    startLifeguard({
      kubeconfig: stage.controlPlane.kubeconfig,
      apiUrl: stage.prefect.apiUrl,
      failureState: 'crashed',
    }),
  )
  return await step('a subflow run starts, its pod is killed, the parent goes on', () =>
    perform(stage, lifeguard),
  )
}

async function actWithout(stage: Stage): Promise<Outcome> {
  say('Without prefect-lifeguard')
  return step('a subflow run starts, its pod is killed, and nobody tells Prefect', () =>
    perform(stage, undefined),
  )
}

const hasEnded = (state: string): boolean => ['Completed', 'Failed', 'Crashed', 'Cancelled'].includes(state)

/** The promise of this project, in one line: it ended Crashed, the label was there, and the parent went on. */
const isKept = ({ states, found, parentState }: Outcome): boolean =>
  states.at(-1)?.type === 'CRASHED' &&
  found.job['prefect.io/parent-task-run-id'] !== undefined &&
  found.pod['prefect.io/parent-task-run-id'] !== undefined &&
  hasEnded(parentState)

function summaryOf(outcome: Outcome) {
  const { timeline, found, ...rest } = outcome
  return { ...rest, labels: found, timeline: timeline.moments() }
}

function show({ with: ours, without }: { with: Outcome; without: Outcome }): void {
  const isColoured = process.stdout.isTTY
  const seconds = ours.secondsFromJobFailureToStateChange?.toFixed(1) ?? '?'
  process.stdout.write(`
With prefect-lifeguard

${render(ours.timeline.moments(), isColoured)}

Without

${render(without.timeline.moments(), isColoured)}

                          with prefect-lifeguard             without
  subflow run             ${(ours.states.at(-1)?.name ?? '?').padEnd(34)} ${without.states.at(-1)?.name ?? '?'}, for ever
  why                     ${(ours.diagnosis ?? '?').padEnd(34)} nobody says
  parent run              ${ours.parentState.padEnd(34)} ${without.parentState}, for ever
  Job failed -> told      ${`${seconds} s`.padEnd(34)} never
`)
}

if (values.help) {
  process.stdout.write(USAGE)
} else {
  const result = await play()
  const ok = isKept(result.with)
  if (values.json) {
    const ours = summaryOf(result.with)
    process.stdout.write(
      `${JSON.stringify({ ok, ...ours, without: summaryOf(result.without) }, undefined, 2)}\n`,
    )
  } else {
    show(result)
  }
  if (!ok)
    say('The promise was not kept: the run should be Crashed, labelled, and its parent should have ended.')
  process.exitCode = ok ? 0 : 1
}
