import { setTimeout as sleep } from 'node:timers/promises'
import { isStatus } from '../api.ts'
import type { Api } from '../api.ts'
import { pods } from '../resources.ts'
import type { Pod } from '../resources.ts'
import type { PodStatus } from './status.ts'

export interface StatusWriterDeps {
  readonly api: Api
  /** Resolves when the node may talk to the API: at once, unless it is down. */
  readonly online: () => Promise<void>
  readonly log: (line: string) => void
}

/** Writes a pod's statuses in order. One that is overtaken before it is written is left out, as a kubelet does. */
export interface StatusWriter {
  readonly write: (status: PodStatus) => void
  /** Resolves when the last status has been written, or the pod is gone. */
  readonly flush: () => Promise<void>
  /** Nothing is written any more. */
  readonly stop: () => void
}

const RETRY_MS = 200

export function createStatusWriter({ metadata }: Pod, { api, online, log }: StatusWriterDeps): StatusWriter {
  const { namespace, name, uid } = metadata
  let pending: PodStatus | undefined
  let working: Promise<void> | undefined
  let stopped = false

  /** False when it should be tried again. */
  const tryToWrite = async (status: PodStatus): Promise<boolean> => {
    try {
      // The UID makes the API refuse (409) when another pod has taken the name.
      const body = { metadata: { uid }, status }
      await api.patch(pods, { namespace, name }, { type: 'strategic-merge', subresource: 'status', body })
      return true
    } catch (error) {
      if (isStatus(error, 404) || (isStatus(error, 409) && (await isReplaced()))) stopped = true
      else log(`status of pod ${namespace}/${name}: ${String(error)}`)
      return stopped || isStatus(error, 422) || isStatus(error, 403)
    }
  }
  /** A conflict is either another pod under the name, or several writers at once. */
  const isReplaced = async (): Promise<boolean> => {
    const pod = await api.get(pods, { namespace, name }).catch(() => undefined)
    return pod !== undefined && pod.metadata.uid !== uid
  }
  const work = async (): Promise<void> => {
    for (let status = take(); status; status = take()) {
      await online()
      if (await tryToWrite(status)) continue
      pending ??= status
      await sleep(RETRY_MS)
    }
    working = undefined
  }
  const take = (): PodStatus | undefined => {
    const status = stopped ? undefined : pending
    pending = undefined
    return status
  }
  return {
    write: status => {
      if (stopped) return
      pending = status
      working ??= work()
    },
    flush: async () => working,
    stop: () => {
      stopped = true
    },
  }
}
