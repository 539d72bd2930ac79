import { missing, untilOver } from './answers.ts'
import type { Case } from './case.ts'
import type { Verdict } from './verdict.ts'

/**
 * A heartbeat is a sign of life, whatever Kubernetes says, until the next one has failed to come twice. An old one
 * is none: the dead have had heartbeats, too.
 */
export function untilHeartIsSilent({
  facts,
  settings,
}: Pick<Case, 'facts' | 'settings'>): Verdict | undefined {
  const { heartbeat } = facts
  if (!heartbeat?.known) return missing('heartbeat', heartbeat)
  return untilOver((heartbeat.value ?? 0) + settings.graces.newerState - facts.now, 'HeartIsBeating')
}
