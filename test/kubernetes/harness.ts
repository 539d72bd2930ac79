import { setImmediate } from 'node:timers/promises'

import type { ObjectMeta } from '../../src/core/objects.ts'
import { createAccess, type Access } from '../../src/kubernetes/http/access.ts'
import { systemClock, type Clock } from '../../src/kubernetes/clock.ts'
import type { ReflectorLimits } from '../../src/kubernetes/watch/limits.ts'
import type { KubernetesMetrics } from '../../src/kubernetes/metrics.ts'
import { parseMeta, type Meta } from '../../src/kubernetes/parse/metadata.ts'
import { createReflector, type Reflector } from '../../src/kubernetes/watch/reflector.ts'
import type { Change } from '../../src/kubernetes/watch/store.ts'
import { eventually } from '../cluster/api.ts'
import { sendJson, startPeer, type Exchange, type Peer } from './peer.ts'

/** Waits longer than this are for the background (comparisons): they do not end by themselves. */
const BACKGROUND_MS = 200_000

export interface TestClock extends Clock {
  /** How long was asked to wait, in order, background waits left out. */
  readonly waits: number[]
  /** Moves the monotonic and the wall clock. */
  readonly pass: (ms: number) => void
  /** Waits of exactly so long are over when this says so, not at once. */
  readonly hold: (ms: number, until: () => Promise<void>) => void
}

/** A clock whose waits are over at once, and whose chance is always a half: every wait has one exact length. */
export function createTestClock(): TestClock {
  const waits: number[] = []
  const held = new Map<number, () => Promise<void>>()
  let offset = 0
  return {
    waits,
    pass: ms => {
      offset += ms
    },
    hold: (ms, until) => {
      held.set(ms, until)
    },
    now: () => Date.now() + offset,
    monotonic: () => performance.now() + offset,
    random: () => 0.5,
    turn: systemClock.turn,
    sleep: async (ms, signal) => {
      if (ms >= BACKGROUND_MS) return systemClock.sleep(ms, signal)
      signal.throwIfAborted()
      waits.push(ms)
      offset += ms
      await (held.get(ms)?.() ?? setImmediate())
      signal.throwIfAborted()
    },
  }
}

export type Step = (exchange: Exchange) => void | Promise<void>

/** What the peer answers to the first list, the second, and so on; the last one answers all that follow. */
export interface Script {
  readonly lists: readonly Step[]
  readonly watches: readonly Step[]
}

export const isWatch = ({ url }: Exchange): boolean => url.searchParams.get('watch') === 'true'

export const playing = (script: Script): Step => {
  const played = { lists: 0, watches: 0 }
  return exchange => {
    const kind = isWatch(exchange) ? 'watches' : 'lists'
    const steps = script[kind]
    const step = steps[Math.min(played[kind], steps.length - 1)]
    played[kind] += 1
    return step?.(exchange)
  }
}

/** Answers with JSON. */
export const json =
  (body: unknown, status = 200, headers: Record<string, string> = {}): Step =>
  exchange => {
    sendJson(exchange, { body, status, headers })
  }

/** A watch that brings these chunks and is ended in order. */
export const closing =
  (...chunks: readonly (string | Uint8Array)[]): Step =>
  ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    for (const chunk of chunks) response.write(chunk)
    response.end()
  }

/** A watch that brings these chunks and then nothing more. */
export const hanging =
  (...chunks: readonly (string | Uint8Array)[]): Step =>
  ({ response }) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.flushHeaders()
    for (const chunk of chunks) response.write(chunk)
  }

/** A watch that brings these chunks and loses its connection. */
export const resetting =
  (...chunks: readonly string[]): Step =>
  async ({ response, socket }) => {
    response.writeHead(200, { 'content-type': 'application/json' })
    for (const chunk of chunks) await new Promise(written => response.write(chunk, written))
    await setImmediate()
    socket.resetAndDestroy()
  }

export interface Harness extends AsyncDisposable {
  readonly peer: Peer
  readonly access: Access
  readonly clock: TestClock
  readonly reflector: Reflector<Meta>
  /** `added etl 1`: type, name and version, and a word for each flag. */
  readonly changes: string[]
  readonly reports: string[]
  readonly lists: () => readonly Exchange[]
  readonly watches: () => readonly Exchange[]
  /** Waits until this is so. */
  readonly until: (what: string, holds: () => boolean) => Promise<void>
}

export interface HarnessOptions {
  readonly limits?: Partial<ReflectorLimits>
  readonly onChange?: (change: Change<Meta>) => void
  readonly metrics?: KubernetesMetrics
  readonly parse?: (json: unknown) => Meta
  readonly user?: object
}

export async function startHarness(answer: Script | Step, options: HarnessOptions = {}): Promise<Harness> {
  const peer = await startPeer(typeof answer === 'function' ? answer : playing(answer))
  const clock = createTestClock()
  const access = createAccess({ kubeConfig: peer.kubeConfig(options.user), clock, timeoutMs: 5_000 })
  const changes: string[] = []
  const reports: string[] = []
  const reflector = createReflector({
    access,
    resource: 'jobs',
    path: '/apis/batch/v1/jobs',
    labelSelector: 'prefect.io/parent-task-run-id',
    parse: options.parse ?? parseMeta,
    index: object => object.metadata.labels['run'],
    onChange: change => {
      changes.push(wordsOf(change))
      options.onChange?.(change)
    },
    report: ({ what, error }) => reports.push(`${what}: ${String(error)}`),
    clock,
    ...(options.metrics && { metrics: options.metrics }),
    limits: options.limits ?? {},
  })
  return {
    peer,
    access,
    clock,
    reflector,
    changes,
    reports,
    lists: () => peer.requests.filter(exchange => !isWatch(exchange)),
    watches: () => peer.requests.filter(isWatch),
    until: async (what, holds) => {
      await eventually(async () => holds(), { until: held => held, what, timeoutMs: 10_000 })
    },
    [Symbol.asyncDispose]: async () => {
      await reflector.stop()
      await access.close()
      await peer[Symbol.asyncDispose]()
    },
  }
}

function wordsOf({
  type,
  object,
  finalStateUnknown,
  leftSelector,
}: Change<{ metadata: ObjectMeta }>): string {
  const flags = [finalStateUnknown && 'unseen', leftSelector && 'perhaps unlabelled']
  return [type, object.metadata.name, object.metadata.resourceVersion, ...flags.filter(flag => flag)].join(
    ' ',
  )
}

export const versionAsked = (exchange: Exchange | undefined): string | null | undefined =>
  exchange?.url.searchParams.get('resourceVersion')
