import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import { diagnose } from '../../src/core/diagnosis/diagnose.ts'
import type { Evidence } from '../../src/core/evidence.ts'
import { known } from '../../src/core/evidence.ts'
import type { Facts, JobFact, PodFact } from '../../src/core/facts.ts'
import type { FlowRun, State } from '../../src/core/flow-run.ts'
import type { StateProposal, Proposal } from '../../src/core/proposal.ts'
import type { Cancel, Crash, Decision, NewAttempt, Report, Verdict } from '../../src/core/verdict.ts'
import type { Acts } from '../../src/observer/act.ts'
import type { Gathered } from '../../src/observer/gather.ts'
import type { Story, Telling } from '../../src/observer/story.ts'
import type { Written } from '../../src/observer/write.ts'
import type { Writes } from '../../src/observer/writes.ts'
import { at, job, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run } from '../core/build/runs.ts'

export const { signal } = new AbortController()

/** A line of a log, as an object. */
type Line = Readonly<Record<string, unknown>> & { readonly msg: string }

/** A logger whose lines can be looked at. */
export function createLog() {
  const lines: Line[] = []
  const logger = pino({ level: 'debug' }, { write: (line: string) => lines.push(JSON.parse(line)) })
  return { logger, lines }
}

/** A UID as Kubernetes makes them: transition ids are made of it. */
export const JOB_UID = '0b5d3c52-6f0e-4f53-9a60-0b1c5f7f3a01'

/** What happened to the run `etl`: its Job failed because its pod ran out of memory. */
const DEAD = {
  jobs: [job({ uid: JOB_UID, failed: 'BackoffLimitExceeded' })],
  pods: [pod({ of: JOB_UID, oom: true })],
}

interface Parts {
  readonly run?: FlowRun | null
  readonly jobs?: readonly JobFact[]
  readonly pods?: readonly PodFact[]
}

/** The facts of a run that died of a lack of memory, as far as a sentence does not say otherwise. */
function deadFacts({ run: found = run(), jobs = DEAD.jobs, pods = DEAD.pods }: Parts = {}): Facts {
  const flowRun: Evidence<FlowRun | undefined> = known(found ?? undefined)
  return {
    flowRunId: FLOW_RUN_ID,
    now: at(60),
    jobs: known(jobs),
    pods: known(pods),
    isLive: true,
    flowRun,
  }
}

const [DEAD_JOB] = DEAD.jobs
const [DEAD_POD] = DEAD.pods
if (!DEAD_JOB || !DEAD_POD) throw new Error('the builders made nothing')

/** Why it died. */
export const OOM = diagnose({ job: DEAD_JOB.job, pods: [DEAD_POD.pod], events: [] }).diagnosis

/** The Job that verdicts rest on. */
export const JOB = { namespace: 'team', name: 'etl', uid: JOB_UID } as const

const grounds = { diagnosis: OOM, job: JOB, observed: run().state }

export const crash = (parts: Partial<Crash> = {}): Crash => ({
  kind: 'crash',
  reason: 'JobFailed',
  thenFail: false,
  suspend: false,
  ...grounds,
  ...parts,
})

export const newAttempt = (parts: Partial<NewAttempt> = {}): NewAttempt => ({
  kind: 'newAttempt',
  reason: 'RetriesAreLeft',
  delayMs: 30_000,
  replaceRetryType: false,
  attempt: 2,
  maxAttempts: 5,
  ...grounds,
  ...parts,
})

export const cancel = (parts: Partial<Cancel> = {}): Cancel => ({
  kind: 'cancel',
  reason: 'FlowRunIsCancelling',
  ...grounds,
  ...parts,
})

export const report = (parts: Partial<Report> = {}): Report => ({
  kind: 'report',
  reason: 'JobFailed',
  would: 'crash',
  diagnosis: OOM,
  job: JOB,
  ...parts,
})

const TRAIL: Decision['trail'] = {
  facts: ['life: dead JobFailed, from a live list'],
  diagnosis: 'oomKilled',
  rules: [{ rule: 'runIsAlive' }, { rule: 'runIsDead', answer: 'crash JobFailed' }],
}

/** A verdict with what it rests on. */
export const gatheredWith = (verdict: Verdict, parts: Parts = {}): Gathered => ({
  facts: deadFacts(parts),
  decision: { verdict, trail: TRAIL },
})

/** A verdict and what came of it. */
export const storyOf = (
  verdict: Telling,
  { outcome = 'crashed', ...parts }: Parts & { readonly outcome?: Story['outcome'] } = {},
): Story => ({
  facts: deadFacts(parts),
  run: parts.run === null ? undefined : (parts.run ?? run()),
  verdict,
  trail: TRAIL,
  outcome,
})

/** What somebody does around a proposal; `n` counts them from 1. */
export interface Interference {
  readonly before?: (proposal: StateProposal, n: number) => void
  readonly after?: (proposal: StateProposal, n: number) => void
  /** Prefect's answer, where it is not that the state was accepted. */
  readonly answer?: (proposal: StateProposal, n: number) => Proposal | undefined
}

/**
 * A run with its history, which takes what it is told unless the interference says otherwise: enough for what is
 * asked here, which is what we make of the answers. What Prefect really answers is shown on the real one.
 */
export function createHistory(observed: State = run().state, interference: Interference = {}) {
  const states: State[] = [observed]
  const proposals: StateProposal[] = []
  const asked: string[] = []
  let current = observed
  const push = (made: Partial<State> & Pick<State, 'type'>): State => {
    const { name = made.type } = made
    current = { id: `${name}-${states.length}`, timestamp: at(100 + states.length), ...made, name }
    states.push(current)
    return current
  }
  const writes: Writes = {
    proposeState: async (_flowRunId, proposal) => {
      asked.push('proposeState')
      const n = proposals.push(proposal)
      interference.before?.(proposal, n)
      await turn()
      const answer = interference.answer?.(proposal, n) ?? { kind: 'accepted', state: push(proposal) }
      interference.after?.(proposal, n)
      return answer
    },
    readStates: async () => {
      asked.push('readStates')
      await turn()
      return [...states]
    },
    readFlowRun: async () => {
      asked.push('readFlowRun')
      await turn()
      return { ...run(), state: current }
    },
  }
  return { writes, states, proposals, asked, push, current: () => current }
}

/** What acting may do, with what it did; `interference` as above. */
export function createActs(parts: Partial<Acts> = {}, history = createHistory()) {
  const stories: Story[] = []
  const written: [string, Written['kind']][] = []
  const acts: Acts = {
    ...history.writes,
    now: () => at(60),
    failureState: 'crashed',
    setRetryType: async (_id, type) => history.asked.push(`setRetryType ${type}`),
    suspendJob: async ({ name }) => {
      history.asked.push(`suspendJob ${name}`)
      return 'applied'
    },
    inProcessSubflowsOf: async () => {
      history.asked.push('inProcessSubflowsOf')
      return []
    },
    tell: async story => {
      stories.push(story)
    },
    onWritten: (_flowRunId, state, { kind }) => written.push([state, kind]),
    inTurn: async work => work(),
    ...parts,
  }
  return { acts, stories, written, ...history }
}
