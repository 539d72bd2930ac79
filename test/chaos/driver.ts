import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createTurns } from '../../src/observer/turns.ts'
import type { InTurn } from '../../src/observer/turns.ts'
import type { Api } from '../cluster/api.ts'
import { isStatus } from '../cluster/api.ts'
import type { PrefectApi } from '../cluster/prefect/api.ts'
import { jobs, pods } from '../cluster/resources.ts'
import type { Pod } from '../cluster/resources.ts'
import type { AttemptScript, Life, PodScript } from './lives.ts'
import { ended, isGone, running } from './node.ts'

/** A run that was started, with what was seen of it from the side of its flow. */
export interface Run {
  readonly number: number
  readonly life: Life
  readonly flowRunId: string
  /** When each attempt was really over: its last pod has ended, in milliseconds since 1970. */
  readonly overAt: number[]
  /** Everything that was to happen has. */
  isOver: boolean
}

export interface DriverOptions {
  readonly api: Api
  readonly prefect: PrefectApi
  /** Of the pool that is the product's, and of nobody's worker. */
  readonly deploymentId: string
  /** Ends all waiting. */
  readonly signal: AbortSignal
}

/** Plays the worker, and the flows in their pods: what Prefect and Kubernetes are told by others than the product. */
export interface Driver {
  /** Starts a run and plays it to its end. */
  readonly live: (number: number, life: Life) => Promise<void>
  readonly play: (pod: Pod, terminating: AbortSignal) => Promise<void>
  readonly runs: () => readonly Run[]
  /** Runs that wait for a time when nobody watches. */
  readonly waitingToVanish: () => number
  /** That time is now. Resolves when their Jobs and pods are gone. */
  readonly vanish: () => Promise<void>
  readonly jobsMade: () => number
}

const FLOW_RUN_ID = 'prefect.io/flow-run-id'
const AGAIN_MS = 500

/**
 * Calls at a time. Hundreds of flows who waited for the end of an outage would make the next one, and Prefect on sqlite
 * turns writes away that meet others (503, "database is locked"): eight at a time kept each other out for minutes.
 */
const AT_ONCE = { prefect: 3, kubernetes: 16 } as const

const POLL_MS = 1_000

/** Prefect's are 180 s apart (`PREFECT_FLOWS_HEARTBEAT_FREQUENCY`); the product's graces are shorter here, too. */
export const BEAT_MS = 10_000

/** One attempt of a run under way. */
interface Attempt {
  readonly run: Run
  readonly script: AttemptScript
  readonly over: PromiseWithResolvers<void>
  /** UIDs of its pods, in the order in which they came. */
  readonly pods: string[]
  ended: number
  isDeleted: boolean
  /** Just before its last end became known to anybody. */
  lastEndAt: number
}

/** The pods of a worker's Job are told from each other by a label that is ours: names of Jobs come again. */
const ATTEMPT = 'chaos.test/attempt'

export async function createDriver({ api, prefect, deploymentId, signal }: DriverOptions): Promise<Driver> {
  const runs: Run[] = []
  const attempts = new Map<string, Attempt>()
  const vanishing = new Map<string, () => Promise<void>>()
  let jobsMade = 0
  const parent = await prefect.createSubflowRun({ deploymentId, states: ['PENDING', 'RUNNING'] })
  const hearts = startHearts(prefect, signal)

  /** Until it is done: a flow's client and a worker insist, too, and the faults are not meant for them. */
  const insistOn =
    (inTurn: InTurn) =>
    async <T>(what: string, act: () => Promise<T>): Promise<T> => {
      signal.throwIfAborted()
      try {
        return await inTurn(act)
      } catch (error) {
        if (isGone(error)) throw error
        if (signal.aborted) throw new Error(`called off: ${what}`, { cause: error })
      }
      await sleep(AGAIN_MS * (0.5 + Math.random()))
      return insistOn(inTurn)(what, act)
    }
  const tellPrefect = insistOn(createTurns(AT_ONCE.prefect))
  const tellKubernetes = insistOn(createTurns(AT_ONCE.kubernetes))
  const report = (flowRunId: string, state: Parameters<PrefectApi['setState']>[1]) =>
    tellPrefect(`${flowRunId} to be ${state.type}`, () => prefect.setState(flowRunId, state))

  const create = async (life: Life): Promise<string> => {
    const flowRunId = await tellPrefect('creating a run', async () =>
      life.isTopLevel
        ? (await prefect.createFlowRun({ deploymentId })).id
        : (await prefect.createSubflowRun({ deploymentId, parentFlowRunId: parent.parentFlowRunId }))
            .flowRunId,
    )
    const { retries } = life
    if (retries > 0)
      await tellPrefect('setting retries', () =>
        prefect.updateFlowRun(flowRunId, { empirical_policy: { retries, retry_delay: 0 } }),
      )
    return flowRunId
  }

  const live: Driver['live'] = async (number, life) => {
    const run: Run = { number, life, flowRunId: await create(life), overAt: [], isOver: false }
    runs.push(run)
    for (const [index, script] of life.attempts.entries()) {
      if (index > 0) await untilScheduled(run)
      await report(run.flowRunId, { type: 'PENDING' })
      await pause(script.pickUpMs)
      run.overAt.push(await attempt(run, index, script))
    }
    run.isOver = true
  }

  const attempt = async (run: Run, index: number, script: AttemptScript): Promise<number> => {
    const name = `run-${run.number}-${index}`
    const one: Attempt = {
      run,
      script,
      over: Promise.withResolvers(),
      pods: [],
      ended: 0,
      isDeleted: false,
      lastEndAt: 0,
    }
    attempts.set(name, one)
    await tellKubernetes(`creating Job ${name}`, () => createJob(name, run.flowRunId, script))
    jobsMade += 1
    await tellPrefect('naming the Job', () =>
      prefect.updateFlowRun(run.flowRunId, { infrastructure_pid: `default:${name}` }),
    )
    const remove = async (): Promise<void> => {
      one.isDeleted = true
      await tellKubernetes(`deleting Job ${name}`, () =>
        api.remove(jobs, { name }, { propagationPolicy: 'Background' }),
      )
    }
    if (typeof script.deletion === 'number') void deleteLater(one, script.deletion, remove).catch(() => {})
    if (script.deletion === 'unseen') vanishing.set(name, () => vanishJob(name, remove))
    await one.over.promise
    if (script.deletion === 'afterwards') await remove()
    attempts.delete(name)
    return one.lastEndAt
  }

  /** A Job without a pod leaves no flow to be told of it. */
  const deleteLater = async (one: Attempt, ms: number, remove: () => Promise<void>): Promise<void> => {
    await pause(ms)
    while (one.pods.length === 0) await pause(AGAIN_MS)
    await remove()
  }

  const createJob = async (name: string, flowRunId: string, script: AttemptScript): Promise<void> => {
    const labels = {
      [FLOW_RUN_ID]: flowRunId,
      'prefect.io/flow-run-name': name,
      'prefect.io/version': '3.8.8',
    }
    const container = { name: 'prefect-job', image: 'none', command: ['prefect', 'flow-run', 'execute'] }
    try {
      await api.create(jobs, {
        metadata: { name, labels },
        spec: {
          backoffLimit: script.backoffLimit,
          ...(script.ttlSeconds !== undefined && { ttlSecondsAfterFinished: script.ttlSeconds }),
          template: {
            metadata: { labels: { ...labels, [ATTEMPT]: name } },
            spec: { restartPolicy: 'Never', containers: [container] },
          },
        },
      })
    } catch (error) {
      // Its answer was lost with the apiserver.
      if (!isStatus(error, 409)) throw error
    }
  }

  /** Pods go at once, as when their node is removed, so that no trace is left for whoever looks later. */
  const vanishJob = async (name: string, remove: () => Promise<void>): Promise<void> => {
    vanishing.delete(name)
    const one = attempts.get(name)
    if (one) one.lastEndAt = Date.now()
    await remove()
    const query = { namespace: 'default', labelSelector: `${ATTEMPT}=${name}` }
    await tellKubernetes(`the pods of ${name} to go`, async () => {
      for (const pod of (await api.list(pods, query)).items)
        await api.remove(pods, { name: pod.metadata.name }, { gracePeriodSeconds: 0 })
      if ((await api.list(pods, query)).items.length > 0) throw new Error('still there')
      if ((await api.get(jobs, { name })) !== undefined) throw new Error('still there')
    })
    if (one?.script.livesOnMs !== undefined) await liveOn(one.run, one.script.livesOnMs)
    one?.over.resolve()
  }

  /** Behind a node that is cut off: only Prefect hears of the flow. */
  const liveOn = async ({ flowRunId }: Run, ms: number): Promise<void> => {
    await pause(ms)
    await report(flowRunId, { type: 'COMPLETED' })
    hearts.stop(flowRunId)
  }

  const untilScheduled = async ({ flowRunId }: Run): Promise<void> => {
    for (;;) {
      const { state } = await tellPrefect(`reading ${flowRunId}`, () => prefect.readFlowRun(flowRunId))
      if (state.type === 'SCHEDULED') return
      await pause(POLL_MS)
    }
  }

  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal })

  /** Waits, unless the pod is told to go. @returns whether it was. */
  const waits = async (ms: number, terminating: AbortSignal): Promise<boolean> => {
    await sleep(ms, undefined, { signal: AbortSignal.any([signal, terminating]) }).catch(() => {})
    signal.throwIfAborted()
    return terminating.aborted
  }

  const write = async (pod: Pod, status: object): Promise<void> => {
    const { name } = pod.metadata
    await tellKubernetes(`the status of ${name}`, () =>
      api.patch(pods, { name }, { subresource: 'status', body: { status } }),
    ).catch((error: unknown) => {
      if (!isGone(error)) throw error
    })
  }

  const play: Driver['play'] = async (pod, terminating) => {
    const one = attempts.get(pod.metadata.labels?.[ATTEMPT] ?? '')
    if (!one) return
    const script = one.script.pods[one.pods.length]
    one.pods.push(pod.metadata.uid)
    if (!script)
      throw new Error(`the Job of run ${one.run.number} (${one.run.life.kind}) has made a pod too many`)
    await playScript(one, { pod, script, terminating })
    if (one.script.livesOnMs !== undefined) return
    hearts.stop(one.run.flowRunId)
    one.ended += 1
    if (one.ended === one.script.pods.length || one.isDeleted) one.over.resolve()
  }

  interface Scene {
    readonly pod: Pod
    readonly script: PodScript
    readonly terminating: AbortSignal
  }

  const playScript = async (one: Attempt, { pod, script, terminating }: Scene): Promise<void> => {
    const { flowRunId } = one.run
    if (await waits(script.startMs, terminating)) return terminate(one, { pod, script, terminating })
    await write(pod, running())
    if (script.reportsRunning) await report(flowRunId, { type: 'RUNNING' })
    hearts.start(flowRunId)
    if (script.end === 'never') await waits(2 ** 30, terminating)
    else if (!(await waits(script.runMs, terminating))) {
      if (script.end === 'completes') await report(flowRunId, { type: 'COMPLETED' })
      one.lastEndAt = Date.now()
      return write(pod, ended(script.end))
    }
    return terminate(one, { pod, script, terminating })
  }

  /** SIGTERM: what the flow does with its 30 seconds. */
  const terminate = async (one: Attempt, { pod, script }: Scene): Promise<void> => {
    const { flowRunId } = one.run
    await pause(1_000)
    if (script.onTerm === 'reschedules')
      await report(flowRunId, {
        type: 'SCHEDULED',
        name: 'AwaitingRetry',
        message: 'rescheduled on SIGTERM',
        state_details: { scheduled_time: new Date().toISOString() },
      })
    if (script.onTerm === 'completes') await report(flowRunId, { type: 'COMPLETED' })
    one.lastEndAt = Math.max(one.lastEndAt, Date.now())
    await write(pod, ended(script.onTerm === 'completes' ? 'completes' : 'terminated'))
    const { name } = pod.metadata
    await tellKubernetes(`${name} to go`, () => api.remove(pods, { name }, { gracePeriodSeconds: 0 }))
  }

  return {
    live,
    play,
    runs: () => runs,
    waitingToVanish: () => vanishing.size,
    vanish: async () => {
      await Promise.all([...vanishing.values()].map(vanish => vanish()))
    },
    jobsMade: () => jobsMade,
  }
}

/** Runs whose flow runs give a sign of life every now and then, all in one request; one that fails is not repeated. */
function startHearts(prefect: PrefectApi, signal: AbortSignal) {
  const beating = new Set<string>()
  const beat = async (): Promise<void> => {
    const occurred = new Date().toISOString()
    const events = Array.from(beating, flowRunId => ({
      id: randomUUID(),
      occurred,
      event: 'prefect.flow-run.heartbeat',
      resource: { 'prefect.resource.id': `prefect.flow-run.${flowRunId}` },
    }))
    if (events.length > 0) await prefect.send('POST', '/events', events)
  }
  const timer = setInterval(() => {
    beat().catch(() => {})
  }, BEAT_MS)
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
  return {
    start: (flowRunId: string) => {
      beating.add(flowRunId)
    },
    stop: (flowRunId: string) => {
      beating.delete(flowRunId)
    },
  }
}
