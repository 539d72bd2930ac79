import { decide } from '../core/decide.ts'
import type { Evidence } from '../core/evidence.ts'
import { known, listed, unknown } from '../core/evidence.ts'
import type { Facts, Need } from '../core/facts.ts'
import type { Instant, Job, KubernetesEvent } from '../core/objects.ts'
import type { VerdictSettings } from '../core/settings.ts'
import type { Decision } from '../core/verdict.ts'
import { liveCluster } from './live-cluster.ts'
import { rememberedPods } from './pod-memory.ts'
import type { Reads, Seen } from './reads.ts'

/** Older heartbeats say nothing to any rule; Prefect Cloud answers event queries of 14 days at most. */
const HEARTBEATS_MS = 3_600_000

export interface Gathered {
  readonly facts: Facts
  readonly decision: Decision
  /** When the flow run was read, at the latest. */
  readonly runReadAt?: Instant
  /** The first read that failed, where one did: the queue backs off as it asks. */
  readonly trouble?: Error
}

/**
 * Reads what the rules ask for, and nothing else, until they have a verdict. It begins with what the watch holds:
 * for a run that is alive that is enough, and nobody is asked anything.
 *
 * A read that fails becomes *unknown* evidence; the rules decide what that is worth. Never rejects but by `signal`.
 */
export async function gather(
  flowRunId: string,
  { reads, settings, signal }: { reads: Reads; settings: VerdictSettings; signal: AbortSignal },
): Promise<Gathered> {
  const { jobs, pods } = withMemory(reads.seen(flowRunId))
  let gathered: Omit<Gathered, 'decision'> = {
    facts: { flowRunId, now: reads.now(), jobs: known(jobs), pods: known(pods), isLive: false },
  }
  for (;;) {
    const decision = decide(gathered.facts, settings)
    if (decision.verdict.kind !== 'ask') return { ...gathered, decision }
    // Each question is asked once and answered, if only by `unknown`: there are seven of them.
    // oxlint-disable-next-line no-await-in-loop -- the next question depends on this answer
    gathered = await answer(gathered, { need: decision.verdict.need, reads, signal })
  }
}

interface Question {
  readonly need: Need
  readonly reads: Reads
  readonly signal: AbortSignal
}

async function answer(
  { facts, ...before }: Omit<Gathered, 'decision'>,
  { need, reads, signal }: Question,
): Promise<Omit<Gathered, 'decision'>> {
  const held = { ...before, ...(need === 'flowRun' && { runReadAt: reads.now() }) }
  try {
    const found = await ANSWERS[need]({ facts, reads, signal })
    return { ...held, facts: { ...facts, ...found, now: reads.now() } }
  } catch (error) {
    signal.throwIfAborted()
    const nothing = UNANSWERED[need](unknown(String(error)))
    return { trouble: asError(error), ...held, facts: { ...facts, ...nothing, now: reads.now() } }
  }
}

interface Asked {
  readonly facts: Facts
  readonly reads: Reads
  readonly signal: AbortSignal
}

const ANSWERS: Readonly<Record<Need, (asked: Asked) => Promise<Partial<Facts>>>> = {
  flowRun: async ({ facts, reads, signal }) => ({
    flowRun: known(await reads.readFlowRun(facts.flowRunId, signal)),
  }),
  states: async ({ facts, reads, signal }) => ({
    states: known(await reads.readStates(facts.flowRunId, signal)),
  }),
  cluster: async ({ facts, reads, signal }) => {
    const live = withMemory(await liveCluster(facts.flowRunId, { reads, signal }))
    return { jobs: known(live.jobs), pods: known(live.pods), isLive: true }
  },
  nodes: async ({ facts, reads, signal }) => {
    const names = new Set(listed(facts.pods).flatMap(({ pod }) => pod.spec.nodeName ?? []))
    const found = await reads.nodes([...names], signal)
    return { nodes: known([...found.values()].filter(node => node !== undefined)) }
  },
  events: async ({ facts, reads, signal }) => ({ events: known(await eventsOf(facts, { reads, signal })) }),
  namedJob: async ({ facts, reads, signal }) => ({
    namedJob: known(await namedJobOf(facts, { reads, signal })),
  }),
  heartbeat: async ({ facts, reads, signal }) => ({
    heartbeat: known(await reads.lastHeartbeat(facts.flowRunId, facts.now - HEARTBEATS_MS, signal)),
  }),
}

type Unanswered = Extract<Evidence<never>, { known: false }>

const UNANSWERED: Readonly<Record<Need, (evidence: Unanswered) => Partial<Facts>>> = {
  flowRun: flowRun => ({ flowRun }),
  states: states => ({ states }),
  cluster: evidence => ({ jobs: evidence, pods: evidence, isLive: true }),
  nodes: nodes => ({ nodes }),
  events: events => ({ events }),
  namedJob: namedJob => ({ namedJob }),
  heartbeat: heartbeat => ({ heartbeat }),
}

/** Pods that are gone, as their Job's annotation remembers them. */
const withMemory = ({ jobs, pods }: Seen): Seen => ({ jobs, pods: [...pods, ...rememberedPods(jobs, pods)] })

async function eventsOf(
  facts: Facts,
  { reads, signal }: Omit<Asked, 'facts'>,
): Promise<readonly KubernetesEvent[]> {
  const objects = [
    ...listed(facts.jobs).map(({ job }) => job.metadata),
    ...listed(facts.pods).map(({ pod }) => pod.metadata),
  ]
  const byNamespace = Map.groupBy(objects, ({ namespace }) => namespace)
  const found = await Promise.all(
    [...byNamespace].map(([namespace, metas]) =>
      reads.eventsOf(
        namespace,
        metas.map(({ uid }) => uid),
        signal,
      ),
    ),
  )
  return found.flat()
}

/** `infrastructure_pid` is `<namespace>:<job name>`; another shape names no Job. */
async function namedJobOf(facts: Facts, { reads, signal }: Omit<Asked, 'facts'>): Promise<Job | undefined> {
  const run = facts.flowRun?.known ? facts.flowRun.value : undefined
  const [namespace, name] = run?.infrastructurePid?.split(':') ?? []
  if (!namespace || !name) return undefined
  return reads.job(namespace, name, signal)
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
