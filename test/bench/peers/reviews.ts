import { readFile } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import { reviewOf } from '../../admission/server-of.ts'

const POD = new URL('../../admission/cases/recorded-pod-of-a-prefect-worker.yaml', import.meta.url)

/** In the recorded pod; the load generator counts up from it. */
export const FLOW_RUN_ID = '3dde8d9b-296a-4c8c-a06f-b1eefb98be84'

/** Of every review; the load generator counts up from it. */
export const REVIEW_UID = '0df28fbd-5f5f-11e8-bc74-36e6bb280816'

const podSchema = z.looseObject({
  metadata: z.looseObject({ annotations: z.record(z.string(), z.string()).optional() }),
  spec: z.looseObject({ containers: z.tuple([z.looseObject({ env: z.array(z.unknown()) })]) }),
})

/**
 * The review of a pod that Prefect's worker made, as kube-apiserver sends it, grown to a size in bytes by environment
 * variables: those are what large pods of Prefect's consist of.
 */
export async function podReview(bytes: number): Promise<string> {
  const [recorded] = parseAllDocuments(await readFile(POD, 'utf8'))
  const { metadata, ...pod } = podSchema.parse(recorded?.toJS())
  // What the case expects of us stands in its annotations.
  const { annotations: _, ...bare } = metadata
  const review = (env: readonly object[]): string => {
    const [container] = pod.spec.containers
    const containers = [{ ...container, env: [...container.env, ...env] }]
    return JSON.stringify(reviewOf({ ...pod, metadata: bare, spec: { ...pod.spec, containers } }))
  }
  const [none, one] = [review([]).length, review(variables(1)).length]
  return review(variables(Math.max(0, Math.round((bytes - none) / (one - none)))))
}

const VALUE = 'https://storage.example.com/team/flows/etl?version=2026-11-24'

const variables = (count: number): object[] =>
  Array.from({ length: count }, (_, index) => ({ name: `SETTING_${index}`, value: VALUE }))
