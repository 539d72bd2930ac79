import type { Logger } from 'pino'
import type { Registry } from 'prom-client'
import { v4 as uuid } from 'uuid'

import type { FlowRun, State } from '../core/flow-run.ts'
import type { Instant } from '../core/objects.ts'
import type { ParentOf } from '../core/parent.ts'
import type { Proposal, StateProposal } from '../core/proposal.ts'
import { parseVersion } from './answers.ts'
import { createApi, dataOf, reading } from './api.ts'
import type { Api } from './api.ts'
import { createBreakers } from './breakers.ts'
import { systemClock } from './clock.ts'
import type { Clock } from './clock.ts'
import { createConnection } from './connection.ts'
import type { ConnectionOptions } from './connection.ts'
import { messageOf } from './errors.ts'
import { withCsrf } from './csrf.ts'
import {
  createInProcessSubflowsOf,
  createLiveSubflowRuns,
  createReadFlowRun,
  createReadFlowRuns,
  createReadStates,
} from './flow-runs.ts'
import type { LiveSubflowRuns } from './flow-runs.ts'
import { measured } from './measured.ts'
import { createMetrics } from './metrics.ts'
import type { Metrics } from './metrics.ts'
import { createParents } from './parents.ts'
import { createProposeState } from './proposals.ts'
import { createRateLimit } from './rate-limit.ts'
import { createEmitEvents, createLastEvent, createLastHeartbeat, createSendLogs } from './reports.ts'
import type { LogEntry, PrefectEvent } from './reports.ts'
import { createSetRetryType } from './retry-type.ts'
import { createSender } from './sender.ts'
import { createExistingWorkPools } from './work-pools.ts'

export interface PrefectClientOptions extends ConnectionOptions {
  /** Prefect's `PREFECT_API_URL`: ends in `/api`, or is a Cloud workspace's URL; a path prefix is kept. */
  readonly apiUrl: string
  /** Everything this process asks of Prefect, look-ups of admission included. */
  readonly requestsPerMinute: number
  readonly registry: Registry
  readonly logger: Logger
  readonly clock?: Clock
  /** A number in [0, 1), for jitter. */
  readonly random?: () => number
}

/** Whether Prefect answers us, with our credentials and from a working database. */
type Health = { readonly ok: true } | { readonly ok: false; readonly why: string }

/**
 * Every call has a deadline and rejects with `PrefectUnavailable` (ask later), `PrefectError` (asking again is of
 * no use), `TypeError` (an answer that makes no sense) or its signal's reason.
 */
export interface PrefectClient {
  /** Always fresh; undefined when there is no such run. */
  readonly readFlowRun: (flowRunId: string, signal: AbortSignal) => Promise<FlowRun | undefined>
  readonly readFlowRuns: (
    flowRunIds: readonly string[],
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<string, FlowRun>>
  /** For admission, which gives up after 1.5 s. */
  readonly parentOf: ParentOf
  /** For those who can wait for a Prefect that is slow. */
  readonly patientParentOf: ParentOf
  /** Oldest first. */
  readonly readStates: (flowRunId: string, signal: AbortSignal) => Promise<readonly State[]>
  readonly proposeState: (
    flowRunId: string,
    proposal: StateProposal,
    signal: AbortSignal,
  ) => Promise<Proposal>
  /** False when the run is gone. */
  readonly setRetryType: (flowRunId: string, retryType: 'reschedule', signal: AbortSignal) => Promise<boolean>
  readonly inProcessSubflowsOf: (flowRunId: string, signal: AbortSignal) => Promise<readonly FlowRun[]>
  readonly lastHeartbeat: (
    flowRunId: string,
    since: Instant,
    signal: AbortSignal,
  ) => Promise<Instant | undefined>
  readonly liveSubflowRuns: (which: LiveSubflowRuns, signal: AbortSignal) => AsyncIterable<FlowRun>
  readonly sendLogs: (entries: readonly LogEntry[], signal: AbortSignal) => Promise<void>
  readonly emitEvents: (events: readonly PrefectEvent[], signal: AbortSignal) => Promise<void>
  /** Prefect's version; undefined where there is no such endpoint (Prefect Cloud). */
  readonly version: (signal: AbortSignal) => Promise<string | undefined>
  /** The server's clock, in whole seconds; undefined where something on the way took the header off. */
  readonly time: (signal: AbortSignal) => Promise<Instant | undefined>
  /** When an event was last stored whose name begins so; undefined where none was since then. */
  readonly lastEvent: (prefix: string, since: Instant, signal: AbortSignal) => Promise<Instant | undefined>
  /** Those of the named work pools that there are. */
  readonly existingWorkPools: (names: readonly string[], signal: AbortSignal) => Promise<ReadonlySet<string>>
  readonly health: (signal: AbortSignal) => Promise<Health>
  /** Closes the connections; calls in flight fail. */
  readonly close: () => Promise<void>
}

const createVersion =
  ({ http, send }: Api) =>
  async (signal: AbortSignal): Promise<string | undefined> => {
    const call = reading('version', signal)
    const result = await http.GET('/admin/version', { fetch: send(call) })
    return result.response.status === 404 ? undefined : parseVersion(dataOf(call, result))
  }

const createTime =
  ({ http, send }: Api) =>
  async (signal: AbortSignal): Promise<Instant | undefined> => {
    const { response } = await http.GET('/admin/version', { fetch: send(reading('time', signal)) })
    const time = Date.parse(response.headers.get('date') ?? '')
    return Number.isNaN(time) ? undefined : time
  }

/** Asks for a run, since `GET /health` needs no credentials and says true on a database without tables (measured). */
const createHealth =
  ({ http, send }: Api) =>
  async (signal: AbortSignal): Promise<Health> => {
    const call = reading('health', signal)
    try {
      dataOf(call, await http.POST('/flow_runs/filter', { body: { limit: 1 }, fetch: send(call) }))
      return { ok: true }
    } catch (error) {
      signal.throwIfAborted()
      return { ok: false, why: messageOf(error) }
    }
  }

/** The typed API with everything between it and the wire; read it from the bottom up. */
const connectedApi = (options: PrefectClientOptions, metrics: Metrics) => {
  const { logger, clock = systemClock, random = Math.random } = options
  const apiUrl = options.apiUrl.replace(/\/+$/, '')
  const connection = createConnection(options)
  const breakers = createBreakers({
    now: clock.now,
    random,
    onChange: ({ priority, state, worst }) => {
      metrics.breaker(worst)
      logger.warn({ priority, state }, 'circuit breaker towards Prefect changed')
    },
  })
  const exchange = withCsrf({
    exchange: measured(connection.exchange, apiUrl, metrics),
    apiUrl,
    clientId: uuid(),
    now: clock.now,
  })
  const rateLimit = createRateLimit(options.requestsPerMinute, clock)
  const send = createSender({ exchange, breakers, rateLimit, clock, random, logger })
  return { api: createApi(apiUrl, send), close: connection.close }
}

/** A client of one Prefect server or Cloud workspace. Sends nothing until asked. */
export const createPrefectClient = (options: PrefectClientOptions): PrefectClient => {
  const metrics = createMetrics(options.registry)
  const { api, close } = connectedApi(options, metrics)
  const { now } = options.clock ?? systemClock
  const parents = createParents({ api, now, onLookup: metrics.lookup })
  return {
    readFlowRun: createReadFlowRun(api),
    readFlowRuns: createReadFlowRuns(api),
    parentOf: parents.admission,
    patientParentOf: parents.observer,
    readStates: createReadStates(api),
    proposeState: createProposeState(api),
    setRetryType: createSetRetryType(api),
    inProcessSubflowsOf: createInProcessSubflowsOf(api),
    lastHeartbeat: createLastHeartbeat(api),
    liveSubflowRuns: createLiveSubflowRuns(api, options.logger),
    sendLogs: createSendLogs(api),
    emitEvents: createEmitEvents(api),
    version: createVersion(api),
    time: createTime(api),
    lastEvent: createLastEvent(api),
    existingWorkPools: createExistingWorkPools(api),
    health: createHealth(api),
    close,
  }
}
