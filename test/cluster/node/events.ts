import { randomBytes } from 'node:crypto'
import type { Api } from '../api.ts'
import { events } from '../resources.ts'
import type { Event, Pod } from '../resources.ts'
import { timestamp } from '../time.ts'

export interface PodEvent {
  readonly type: 'Normal' | 'Warning'
  readonly reason: string
  readonly message: string
  /** The container it is about: `spec.containers{main}`. */
  readonly fieldPath?: string
}

/** Records an Event on a pod, or counts it up when it has been recorded before. Never throws: an Event is a courtesy. */
export type RecordEvent = (pod: Pod, event: PodEvent) => void

export interface EventsDeps {
  readonly api: Api
  readonly nodeName: string
  readonly log: (line: string) => void
}

/** Events as a kubelet writes them, one after the other. */
export function createEventRecorder({ api, nodeName, log }: EventsDeps): RecordEvent {
  const recorded = new Map<string, Event>()
  let queue = Promise.resolve()

  const write = async (pod: Pod, event: PodEvent): Promise<void> => {
    const key = [pod.metadata.uid, event.reason, event.message, event.fieldPath].join('\n')
    const same = recorded.get(key)
    recorded.set(
      key,
      same ? await countUp(api, same) : await api.create(events, eventOf(pod, event, nodeName)),
    )
  }
  return (pod, event) => {
    queue = queue
      .then(() => write(pod, event))
      .catch((error: unknown) => log(`event ${event.reason} of pod ${pod.metadata.name}: ${String(error)}`))
  }
}

const countUp = (api: Api, { metadata, count }: Event): Promise<Event> =>
  api.patch(events, metadata, { body: { count: (count ?? 1) + 1, lastTimestamp: timestamp() } })

function eventOf({ metadata }: Pod, { type, reason, message, fieldPath }: PodEvent, nodeName: string) {
  const { name, namespace = 'default', uid, resourceVersion } = metadata
  return {
    metadata: { namespace, name: `${name}.${randomBytes(8).toString('hex')}` },
    involvedObject: {
      apiVersion: 'v1',
      kind: 'Pod',
      namespace,
      name,
      uid,
      resourceVersion,
      ...(fieldPath === undefined ? {} : { fieldPath }),
    },
    type,
    reason,
    message,
    count: 1,
    firstTimestamp: timestamp(),
    lastTimestamp: timestamp(),
    source: { component: 'kubelet', host: nodeName },
    reportingComponent: 'kubelet',
    reportingInstance: nodeName,
  }
}
