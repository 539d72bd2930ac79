// The admission half of prefect-lifeguard as a Pepr module, started without Pepr's command line. Look-ups are cached.
//
//   node webhook.cjs --port 8443 --prefect http://127.0.0.1:4200/api
//
// KUBECONFIG, PEPR_API_PATH, SSL_CERT_PATH and SSL_KEY_PATH are Pepr's own variables.
'use strict'

const { parseArgs } = require('node:util')
const { a, Capability, PeprModule } = require('pepr')

const FLOW_RUN_ID = 'prefect.io/flow-run-id'
const PARENT_TASK_RUN_ID = 'prefect.io/parent-task-run-id'
const FINALIZER_FREE = 'prefect.io/finalizer-free'

const { values } = parseArgs({
  options: { port: { type: 'string' }, prefect: { type: 'string' }, certificates: { type: 'string' } },
})

const known = new Map()

async function parentOf(flowRunId) {
  const parent = known.get(flowRunId)
  if (parent !== undefined) return parent
  const answer = await fetch(`${values.prefect}/flow_runs/filter`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ flow_runs: { id: { any_: [flowRunId] } } }),
  })
  const [run] = await answer.json()
  known.set(flowRunId, run.parent_task_run_id)
  return run.parent_task_run_id
}

/** The metadata of an object, and of its pod template. */
const metadataIn = ({ metadata, spec }) => [metadata, ...(spec.template ? [spec.template.metadata] : [])]

async function mutate({ Raw: object }) {
  const parent = await parentOf(object.metadata.labels[FLOW_RUN_ID])
  for (const metadata of metadataIn(object)) {
    metadata.labels = { ...metadata.labels, [PARENT_TASK_RUN_ID]: parent }
    metadata.annotations = { ...metadata.annotations, [FINALIZER_FREE]: 'true' }
  }
}

async function validate(request) {
  const parent = await parentOf(request.Raw.metadata.labels[FLOW_RUN_ID])
  const claims = metadataIn(request.Raw).map(({ labels }) => labels?.[PARENT_TASK_RUN_ID])
  const untrue = claims.filter(claim => claim !== undefined && claim !== parent)
  return request.Approve(
    untrue.map(claim => `label ${PARENT_TASK_RUN_ID} is ${claim}, but in Prefect it is ${parent}`),
  )
}

const capability = new Capability({
  name: 'lifeguard',
  description: 'Labels the Jobs and pods of subflow runs.',
})
for (const kind of [a.Job, a.Pod])
  capability.When(kind).IsCreated().WithLabel(FLOW_RUN_ID).Mutate(mutate).Validate(validate)

const configuration = {
  uuid: 'bench',
  onError: 'ignore',
  webhookTimeout: 10,
  alwaysIgnore: { namespaces: [] },
}
new PeprModule({ description: 'benchmark', pepr: configuration }, [capability], { deferStart: true }).start(
  Number(values.port),
)
