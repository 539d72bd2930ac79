import type { Finding } from './finding.ts'
import { duration } from '../table.ts'
import { ok, skipped, warning, wrong } from './finding.ts'

const NAME = 'clocks'

/** `Date` headers have whole seconds, cut off; the way there and back takes some of the rest. */
const RESOLUTION_MS = 2000

/** Three clocks at about the same moment, in milliseconds; undefined where one was not told. */
export interface Clocks {
  readonly kubernetes: number | undefined
  readonly prefect: number | undefined
  readonly here: { readonly kubernetes: number; readonly prefect: number }
}

/**
 * Which of an attempt and its Job came first is a matter of Prefect's clock and Kubernetes': how far they are apart,
 * by way of ours.
 */
export function checkClocks({ kubernetes, prefect, here }: Clocks, toleranceMs: number): Finding {
  if (kubernetes === undefined || prefect === undefined)
    return skipped(NAME, 'both APIs have to tell theirs (the `Date` header)')
  const ofKubernetes = kubernetes - here.kubernetes
  const ofPrefect = prefect - here.prefect
  const apart = ofPrefect - ofKubernetes
  const detail = `Kubernetes ${offsetInWords(ofKubernetes)}, Prefect ${offsetInWords(ofPrefect)}`
  const allowed = toleranceMs + RESOLUTION_MS
  if (Math.abs(apart) > allowed)
    return wrong(
      NAME,
      `${detail}: ${duration(Math.abs(apart))} apart from each other`,
      `set the clocks right (NTP), or raise LIFEGUARD_CLOCK_TOLERANCE above ${duration(Math.abs(apart))}: verdicts compare Prefect's times with Kubernetes'`,
    )
  if (Math.max(Math.abs(ofKubernetes), Math.abs(ofPrefect)) > allowed)
    return warning(NAME, detail, 'set the clock of this machine right: graces are measured by it')
  return ok(NAME, detail)
}

function offsetInWords(ms: number): string {
  if (Math.abs(ms) <= RESOLUTION_MS) return 'as here'
  return `${duration(Math.abs(ms))} ${ms > 0 ? 'ahead' : 'behind'}`
}
