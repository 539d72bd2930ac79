import { pino } from 'pino'
import { Registry } from 'prom-client'

import { createPrefectClient } from '../../src/prefect/client.ts'
import type { PrefectClient, PrefectClientOptions } from '../../src/prefect/client.ts'
import type { Clock } from '../../src/prefect/clock.ts'

/** For calls that nothing ends but their own deadline. */
export const neverAborted = new AbortController().signal

export const silent = pino({ level: 'silent' })

export interface TestClient extends PrefectClient {
  readonly registry: Registry
  /** How often requests of this operation were sent and ended so (any end when absent). */
  readonly requests: (operation: string, status?: string) => Promise<number>
}

interface Teardown {
  readonly teardown: (action: () => Promise<void>) => void
}

interface CounterValue {
  readonly value: number
  readonly labels: Readonly<Record<string, string | number | undefined>>
}

/** The sum of a counter's values whose labels are these. */
export const counted = async (
  registry: Registry,
  name: string,
  labels: Readonly<Record<string, string>>,
): Promise<number> => {
  const metric = await registry.getSingleMetric(name)?.get()
  const values: readonly CounterValue[] = metric?.values ?? []
  return values
    .filter(one => Object.entries(labels).every(([key, value]) => one.labels[key] === value))
    .reduce((sum, { value }) => sum + value, 0)
}

/** A client with a registry of its own and a generous rate limit, closed at the end of the test. */
export const createTestClient = (
  t: Teardown,
  options: Partial<PrefectClientOptions> & { readonly apiUrl: string },
): TestClient => {
  const registry = new Registry()
  const client = createPrefectClient({ requestsPerMinute: 60_000, registry, logger: silent, ...options })
  t.teardown(client.close)
  return {
    ...client,
    registry,
    requests: (operation, status) =>
      counted(registry, 'lifeguard_prefect_requests_total', {
        operation,
        ...(status === undefined ? {} : { status }),
      }),
  }
}

export interface FakeClock extends Clock {
  readonly advance: (ms: number) => void
  /** Every wait so far, in milliseconds. */
  readonly sleeps: readonly number[]
}

/** A clock on which waiting takes no time and is written down. */
export const createFakeClock = (start = Date.UTC(2026, 0, 1)): FakeClock => {
  const sleeps: number[] = []
  let at = start
  return {
    sleeps,
    now: () => at,
    advance: ms => {
      at += ms
    },
    sleep: async (ms, signal) => {
      signal.throwIfAborted()
      sleeps.push(ms)
      at += ms
    },
  }
}
