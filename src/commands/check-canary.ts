import { randomUUID } from 'node:crypto'
import { createCanary } from '../admission/canary.ts'
import { isForbidden, isNotFound } from '../kubernetes/errors.ts'
import { collectionPath, LEASES } from '../kubernetes/paths.ts'
import type { Finding } from './finding.ts'
import { ok, skipped, wordsOf, wrong } from './finding.ts'
import type { Foundation } from './foundation.ts'

const NAME = 'way to the webhook'

type Surroundings = Pick<Foundation, 'access' | 'config'>

/** A question that goes through the API server to some replica and back, and leaves nothing behind. */
export const canaryOf = ({ access, config: { namespace } }: Surroundings) =>
  createCanary({
    namespace,
    nonce: randomUUID,
    dryRunCreate: (lease, signal) =>
      access.request({
        method: 'POST',
        path: collectionPath(LEASES, namespace),
        query: { dryRun: 'All' },
        body: lease,
        signal,
        parse: answer => answer,
      }),
  })

/** Whether an object really comes by us, by dry run. */
export async function checkCanary(foundation: Surroundings, signal: AbortSignal): Promise<Finding> {
  const { namespace } = foundation.config
  try {
    await canaryOf(foundation)(signal)
    return ok(NAME, 'a Lease, created by dry run, came by one of the replicas')
  } catch (error) {
    signal.throwIfAborted()
    if (isForbidden(error)) return skipped(NAME, `not allowed to create Leases in namespace ${namespace}`)
    if (isNotFound(error))
      return wrong(NAME, `there is no namespace ${namespace}`, 'nothing is installed: docs/install.md')
    return wrong(
      NAME,
      wordsOf(error),
      "see that pods of the Deployment are Ready, and that the API server reaches port 8443 of them (on private clusters: the control plane's firewall)",
    )
  }
}
