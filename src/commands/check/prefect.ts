import type { Finding } from './finding.ts'
import { ok, warning, wordsOf, wrong } from './finding.ts'
import type { Foundation } from '../foundation.ts'
import type { Answered } from './kubernetes.ts'

const API = 'Prefect API'
const VERSION = 'Prefect version'
const OBSERVER = "Prefect's own observer"
const EVENTS = "Prefect's events"
const WORK_POOLS = 'LIFEGUARD_WORK_POOLS'

/** What this was developed against and is tested with. */
const VERIFIED = '3.8.8'

/** Events of Prefect's own observer, one for each phase of each pod. Source: prefect-kubernetes 0.8.0, observer.py. */
const OBSERVER_EVENTS = 'prefect.kubernetes.pod.'

/** Every flow run makes events; a Prefect without any for so long has no runs, or stores none. */
const LATELY_MS = 24 * 3_600_000

type Surroundings = Pick<Foundation, 'prefect' | 'config' | 'targets'>

/** Whether Prefect answers, which it is, and what in it matters to us. */
export async function checkPrefect(
  foundation: Surroundings,
  signal: AbortSignal,
): Promise<Answered & { readonly more: readonly Finding[] }> {
  const { prefect, targets } = foundation
  const health = await prefect.health(signal)
  if (!health.ok) {
    const advice =
      'see PREFECT_API_URL and, where Prefect wants them, PREFECT_API_KEY or PREFECT_API_AUTH_STRING'
    return { finding: wrong(API, `${targets.prefect}: ${health.why}`, advice), more: [] }
  }
  const time = await prefect.time(signal).catch(() => undefined)
  const more = await Promise.all([
    guarded(VERSION, () => checkVersion(foundation, signal), signal),
    guarded(EVENTS, () => checkEvents(foundation, signal), signal),
    guarded(OBSERVER, () => checkObserver(foundation, signal), signal),
    guarded(WORK_POOLS, () => checkWorkPools(foundation, signal), signal),
  ])
  return { finding: ok(API, 'answers, with our credentials'), time, more }
}

async function guarded(name: string, check: () => Promise<Finding>, signal: AbortSignal): Promise<Finding> {
  try {
    return await check()
  } catch (error) {
    signal.throwIfAborted()
    return warning(name, `could not be found out: ${wordsOf(error)}`, 'ask again; else see what Prefect says')
  }
}

async function checkVersion({ prefect }: Surroundings, signal: AbortSignal): Promise<Finding> {
  const version = await prefect.version(signal)
  if (version === undefined) return ok(VERSION, 'Prefect Cloud, which tells none')
  return versionFinding(version)
}

/** Prefect's orchestration rules are what our writes rest on: they were measured on one version. */
export function versionFinding(version: string): Finding {
  const [major, minor] = version.split('.')
  const [ourMajor, ourMinor] = VERIFIED.split('.')
  if (major !== ourMajor)
    return wrong(
      VERSION,
      version,
      `only Prefect ${ourMajor} is understood; this was verified with ${VERIFIED}`,
    )
  if (minor === ourMinor) return ok(VERSION, version)
  return warning(
    VERSION,
    version,
    `verified with ${VERIFIED}: leave HANDLE_SUBFLOW_FAILURE_STATE unset for a while, and look at what would be done`,
  )
}

async function checkEvents({ prefect }: Surroundings, signal: AbortSignal): Promise<Finding> {
  const last = await prefect.lastEvent('prefect.', Date.now() - LATELY_MS, signal)
  if (last !== undefined) return ok(EVENTS, `stored, the last one at ${new Date(last).toISOString()}`)
  return warning(
    EVENTS,
    'none was stored for a day',
    "without events there are no heartbeats, and automations hear nothing: see that the server's services run (`prefect server start` without --no-services)",
  )
}

async function checkObserver({ prefect, config }: Surroundings, signal: AbortSignal): Promise<Finding> {
  const last = await prefect.lastEvent(OBSERVER_EVENTS, Date.now() - LATELY_MS, signal)
  if (last === undefined) return ok(OBSERVER, 'no sign of it for a day')
  const detail = `some worker runs it: it told of a pod at ${new Date(last).toISOString()}`
  if (!config.verdict.honourRetries) return ok(OBSERVER, detail)
  return warning(
    OBSERVER,
    detail,
    'it crashes runs within a second and knows no retries: for Prefect\'s `retries` to be honoured set PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ENABLED=false on the workers, but see README, "Beside Prefect\'s own observer"',
  )
}

/** A name with a slip in it owns no runs, and nobody would notice. */
async function checkWorkPools({ prefect, config }: Surroundings, signal: AbortSignal): Promise<Finding> {
  const { workPools } = config.verdict
  if (workPools.length === 0)
    return ok(WORK_POOLS, 'unset: a run without a trace in this cluster is told of, not ended')
  const existing = await prefect.existingWorkPools(workPools, signal)
  const missing = workPools.filter(name => !existing.has(name))
  if (missing.length === 0) return ok(WORK_POOLS, `in Prefect: ${workPools.join(', ')}`)
  return warning(
    WORK_POOLS,
    `not in Prefect: ${missing.join(', ')}`,
    'set it to names that `prefect work-pool ls` shows: runs of a pool that is not named are told of, and never ended for want of a trace',
  )
}
