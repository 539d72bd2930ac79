import { isForbidden, isNotFound } from '../../kubernetes/http/errors.ts'
import type { Finding } from './finding.ts'
import { ok, skipped, wordsOf, wrong } from './finding.ts'
import type { Foundation } from '../foundation.ts'
import { canaryOf } from '../probes.ts'

const NAME = 'way to the webhook'

/** Whether an object really comes by us, by dry run. */
export async function checkCanary(
  foundation: Pick<Foundation, 'access' | 'config'>,
  signal: AbortSignal,
): Promise<Finding> {
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
