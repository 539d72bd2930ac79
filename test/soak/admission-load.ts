import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent } from 'undici'

/** A steady caller of /mutate, as the apiserver is. */
export interface AdmissionLoad {
  /** Milliseconds that each call took since the last time this was asked. */
  readonly take: () => readonly number[]
  readonly failures: () => number
  readonly stop: () => Promise<void>
}

/** A call at a time, so often; what is measured is how long one waits, not how many there could be. */
const EVERY_MS = 10

/** Calls for a pod whose run is known to the product after the first call. */
export function startAdmissionLoad(url: string, flowRunId: string): AdmissionLoad {
  // Whose certificate it is has its own tests.
  const agent = new Agent({ connect: { rejectUnauthorized: false }, connections: 1 })
  const stop = new AbortController()
  let took: number[] = []
  let failures = 0
  const call = async (): Promise<void> => {
    const began = performance.now()
    const { statusCode, body } = await agent.request({
      origin: url,
      path: '/mutate',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(reviewOf(flowRunId)),
    })
    const answer = (await body.json()) as { response?: { patch?: string } }
    if (statusCode !== 200 || answer.response?.patch === undefined) failures += 1
    took.push(performance.now() - began)
  }
  const calling = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      await call().catch(() => {
        failures += 1
      })
      await sleep(EVERY_MS)
    }
  }
  const called = calling()
  return {
    take: () => {
      const taken = took
      took = []
      return taken
    },
    failures: () => failures,
    stop: async () => {
      stop.abort()
      await called
      await agent.close()
    },
  }
}

const reviewOf = (flowRunId: string): object => ({
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid: randomUUID(),
    kind: { group: '', version: 'v1', kind: 'Pod' },
    resource: { group: '', version: 'v1', resource: 'pods' },
    name: 'soak',
    namespace: 'default',
    operation: 'CREATE',
    userInfo: { username: 'admin' },
    dryRun: false,
    object: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'soak', namespace: 'default', labels: { 'prefect.io/flow-run-id': flowRunId } },
      spec: { containers: [{ name: 'prefect-job', image: 'none' }] },
    },
  },
})
