// A process that keeps the labelled pods of a cluster, as the product does or as they come, and prints how many bytes they
// take once everything else has been collected. Arguments: kubeconfig, namespace, `trimmed` or `whole`.
import { setTimeout as sleep } from 'node:timers/promises'
import { KubeConfig } from '@kubernetes/client-node'
import { createAccess } from '../../../src/kubernetes/http/access.ts'
import type { Meta } from '../../../src/kubernetes/parse/metadata.ts'
import { parsePod } from '../../../src/kubernetes/parse/pod.ts'
import { createReflector } from '../../../src/kubernetes/watch/reflector.ts'

const [, , kubeconfig = '', namespace = '', how] = process.argv
const kubeConfig = new KubeConfig()
kubeConfig.loadFromFile(kubeconfig)
const access = createAccess({ kubeConfig })
// What comes is kept; that it has metadata is known of the API server.
const asItComes = (json: unknown): Meta => json as Meta
const reflector = createReflector<Meta>({
  access,
  resource: 'pods',
  path: `/api/v1/namespaces/${namespace}/pods`,
  labelSelector: 'prefect.io/flow-run-id,prefect.io/parent-task-run-id',
  parse: how === 'trimmed' ? parsePod : asItComes,
  index: ({ metadata }) => metadata.labels['prefect.io/flow-run-id'],
  onChange: () => {},
})

const before = await heapUsed()
reflector.start()
await reflector.whenSynced(AbortSignal.timeout(120_000))
const after = await heapUsed()
process.stdout.write(`${JSON.stringify({ pods: reflector.status().objects, bytes: after - before })}\n`)
await reflector.stop()
await access.close()

/** What is left when nothing more can be collected. */
async function heapUsed(): Promise<number> {
  for (let round = 0; round < 4; round += 1) {
    globalThis.gc?.()
    await sleep(50)
  }
  return process.memoryUsage().heapUsed
}
