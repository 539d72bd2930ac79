import { KubeConfig } from '@kubernetes/client-node'

import { createAccess } from '../../src/kubernetes/http/access.ts'
import { createLeadership } from '../../src/kubernetes/lease/leadership.ts'

/**
 * A process that contends for the Lease `contest` of the namespace `default` until it is killed, or told SIGTERM:
 * `node contender.ts <kubeconfig> <identity>`. Says `leading` and `stopped` on its standard output.
 */
const [kubeconfig = '', identity = ''] = process.argv.slice(2)
const kubeConfig = new KubeConfig()
kubeConfig.loadFromFile(kubeconfig)
const access = createAccess({ kubeConfig })
const stopping = new AbortController()
process.once('SIGTERM', () => {
  stopping.abort()
})
const leadership = createLeadership({
  access,
  namespace: 'default',
  name: 'contest',
  identity,
  timings: { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, retryPeriodMs: 300 },
  onStartedLeading: async () => {
    process.stdout.write('leading\n')
  },
  onStoppedLeading: () => {
    process.stdout.write('stopped\n')
  },
})
await leadership.run(stopping.signal)
await access.close()
