import type { Instant } from '../core/objects.ts'
import { parseFirstOccurred } from './answers.ts'
import { dataOf, reading } from './api.ts'
import type { Api } from './api.ts'
import { storable } from './text.ts'

/** A line in a flow run's logs. */
export interface LogEntry {
  readonly flowRunId: string
  /** Python's levels, as Prefect has them: 20 info, 30 warning, 40 error. */
  readonly level: number
  readonly message: string
  readonly timestamp: Instant
}

/** A resource of an event: labels, of which `prefect.resource.id` must be one. */
type EventResource = Readonly<Record<string, string>> & { readonly 'prefect.resource.id': string }

export interface PrefectEvent {
  /** A UUID made of what the event is about (uuid5): Prefect stores an id once, so repeating is safe. */
  readonly id: string
  readonly occurred: Instant
  /** Such as `prefect-lifeguard.flow-run.crashed`. */
  readonly event: string
  readonly resource: EventResource
  /** Each with a `prefect.resource.role`; what is beyond the hundredth is left out, as Prefect would refuse it. */
  readonly related: readonly EventResource[]
  readonly payload: Readonly<Record<string, unknown>>
}

const LOGGER_NAME = 'prefect-lifeguard'

/** Prefect's own client sends no more at once (`logging.to_api.batch_size`); Prefect Cloud refuses 5 MiB. */
const BATCH_BYTES = 4_000_000

/** `PREFECT_SERVER_EVENTS_MAXIMUM_SIZE_BYTES` is 1.5 MB; a larger event gets its 204 and is not stored (measured). */
const EVENT_BYTES = 1_400_000

/** `PREFECT_SERVER_EVENTS_MAXIMUM_RELATED_RESOURCES`; more is a 422. */
const RELATED_RESOURCES = 100

const iso = (instant: Instant): string => new Date(instant).toISOString()

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value), 'utf8')

/** In order, cut where the next item would make a batch too large. */
export const batchesOf = <T>(items: readonly T[], maxBytes: number): readonly (readonly T[])[] => {
  const batches: T[][] = []
  let left = 0
  for (const item of items) {
    const bytes = bytesOf(item) + 1
    if (bytes > left) {
      batches.push([])
      left = maxBytes
    }
    batches.at(-1)?.push(item)
    left -= bytes
  }
  return batches
}

const logOf = ({ flowRunId, level, message, timestamp }: LogEntry) => ({
  name: LOGGER_NAME,
  level,
  message: storable(message),
  timestamp: iso(timestamp),
  flow_run_id: flowRunId,
})

/** Writes lines into flow runs' logs, long ones cut. Prefect takes lines for runs it does not know, too. */
export const createSendLogs =
  ({ http, send }: Api) =>
  async (entries: readonly LogEntry[], signal: AbortSignal): Promise<void> => {
    const call = reading('sendLogs', signal)
    await Promise.all(
      batchesOf(entries.map(logOf), BATCH_BYTES).map(async batch => {
        dataOf(call, await http.POST('/logs/', { body: [...batch], fetch: send(call) }))
      }),
    )
  }

const payloadOf = (payload: PrefectEvent['payload']) => {
  const bytes = bytesOf(payload)
  return bytes <= EVENT_BYTES ? payload : { omitted: `a payload of ${bytes} bytes` }
}

const eventOf = ({ id, occurred, event, resource, related, payload }: PrefectEvent) => ({
  id,
  occurred: iso(occurred),
  event,
  resource,
  related: related.slice(0, RELATED_RESOURCES),
  payload: payloadOf(payload),
})

/** Sends events. 204 means taken, not yet stored: a server whose services are off never stores them. */
export const createEmitEvents =
  ({ http, send }: Api) =>
  async (events: readonly PrefectEvent[], signal: AbortSignal): Promise<void> => {
    const call = reading('emitEvents', signal)
    await Promise.all(
      batchesOf(events.map(eventOf), BATCH_BYTES).map(async batch => {
        dataOf(call, await http.POST('/events', { body: [...batch], fetch: send(call) }))
      }),
    )
  }

/**
 * When a run last gave a sign of life since an instant. Undefined proves nothing: a beat comes every three minutes
 * (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`), takes some seconds to be stored, and older versions of Prefect send none.
 */
export const createLastHeartbeat =
  ({ http, send }: Api) =>
  async (flowRunId: string, since: Instant, signal: AbortSignal): Promise<Instant | undefined> => {
    const call = reading('lastHeartbeat', signal, flowRunId)
    const result = await http.POST('/events/filter', {
      body: {
        filter: {
          event: { name: ['prefect.flow-run.heartbeat'] },
          resource: { id: [`prefect.flow-run.${flowRunId}`], distinct: false },
          occurred: { since: iso(since) },
          order: 'DESC',
        },
        limit: 1,
      },
      fetch: send(call),
    })
    return parseFirstOccurred(dataOf(call, result), `of flow run ${flowRunId}`)
  }

/** When an event was last stored whose name begins so, such as `prefect.kubernetes.pod.`: of whatever resource. */
export const createLastEvent =
  ({ http, send }: Api) =>
  async (prefix: string, since: Instant, signal: AbortSignal): Promise<Instant | undefined> => {
    const call = reading('lastEvent', signal)
    const result = await http.POST('/events/filter', {
      body: {
        filter: { event: { prefix: [prefix] }, occurred: { since: iso(since) }, order: 'DESC' },
        limit: 1,
      },
      fetch: send(call),
    })
    return parseFirstOccurred(dataOf(call, result), `with the prefix ${prefix}`)
  }
