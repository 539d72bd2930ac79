import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { Gauge } from 'prom-client'
import type { Registry } from 'prom-client'

/** Resolves when all is well, rejects with what is not. */
export type Attempt = (signal: AbortSignal) => Promise<void>

export interface ProbesOptions {
  /** By name, as metrics and logs call them. */
  readonly attempts: Readonly<Record<string, Attempt>>
  readonly everyMs: number
  /** An attempt that takes longer has failed. */
  readonly deadlineMs: number
  readonly now: () => Date
  readonly logger: Logger
  readonly registry: Registry
}

interface ProbeStatus {
  readonly ok: boolean
  /** What is wrong, or why nothing is known yet. */
  readonly detail: string
}

export interface Probes {
  /** Tries everything time and again until the signal aborts. */
  readonly start: (signal: AbortSignal) => Promise<void>
  /** Tries everything once. Never rejects. */
  readonly check: (signal: AbortSignal) => Promise<void>
  /** The outcome of the last attempt. */
  readonly status: (name: string) => ProbeStatus
}

/** Probes of ourselves, from outside: what each found last, in metrics, log and for readiness. */
export function createProbes({ attempts, everyMs, deadlineMs, ...deps }: ProbesOptions): Probes {
  const found = new Map<string, ProbeStatus>()
  const record = createRecord(deps)
  const tryOne = async ([name, attempt]: [string, Attempt], signal: AbortSignal): Promise<void> => {
    const error = await outcomeOf(attempt, AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]))
    // What fails because everything stops says nothing.
    if (signal.aborted) return
    const status =
      error === undefined ? { ok: true, detail: 'as it should be' } : { ok: false, detail: error.message }
    record({ name, status, error, wasOk: found.get(name)?.ok })
    found.set(name, status)
  }
  const check: Attempt = async signal => {
    await Promise.all(Object.entries(attempts).map(entry => tryOne(entry, signal)))
  }
  return {
    check,
    start: async signal => {
      while (!signal.aborted) {
        // oxlint-disable-next-line no-await-in-loop -- one look after the other
        await check(signal)
        // oxlint-disable-next-line no-await-in-loop -- as above
        await sleep(everyMs, undefined, { signal }).catch(() => undefined)
      }
    },
    status: name => found.get(name) ?? { ok: false, detail: 'not tried yet' },
  }
}

async function outcomeOf(attempt: Attempt, signal: AbortSignal): Promise<Error | undefined> {
  try {
    await attempt(signal)
    return undefined
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  }
}

interface Found {
  readonly name: string
  readonly status: ProbeStatus
  readonly error: Error | undefined
  readonly wasOk: boolean | undefined
}

/** Logs only changes: a probe that stays as it is has been told of. */
function createRecord({ now, logger, registry }: Pick<ProbesOptions, 'now' | 'logger' | 'registry'>) {
  const registers = [registry]
  const success = new Gauge({
    name: 'lifeguard_probe_success',
    help: 'Whether the last probe of ourselves found all well: 1 or 0.',
    labelNames: ['probe'],
    registers,
  })
  const lastSuccess = new Gauge({
    name: 'lifeguard_probe_last_success_timestamp_seconds',
    help: 'When a probe of ourselves last found all well, in seconds since 1970.',
    labelNames: ['probe'],
    registers,
  })
  return ({ name: probe, status: { ok }, error, wasOk }: Found): void => {
    success.set({ probe }, ok ? 1 : 0)
    if (ok) lastSuccess.set({ probe }, now().getTime() / 1000)
    if (ok === wasOk) return
    if (ok) logger.info({ probe }, 'probe of ourselves found all well')
    else logger.warn({ probe, err: error }, 'probe of ourselves failed')
  }
}
