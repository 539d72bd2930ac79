import type { PrefectApi, State } from '../cluster/prefect/api.ts'
import type { Run } from './driver.ts'

export interface Judgement {
  readonly run: Run
  readonly kind: 'right' | 'lost' | 'wrong'
  /** What is not right, in words, with the states the run had. */
  readonly why: string
}

/** In the message of each new attempt of the product. */
const ATTEMPT_MARK = 'prefect-lifeguard: new attempt'

/** Prefect's clock is ours; what is compared with it was read from it just before. */
const TOLERANCE_MS = 50

/** States that nobody gives any of these runs. */
const NEVER: ReadonlySet<string> = new Set(['FAILED', 'CANCELLED', 'CANCELLING', 'PAUSED'])

/** Prefect's own limit for one page. */
const PAGE = 200

/**
 * Judges a run by its whole history, not by its end alone: a run that was called dead while it lived, and was put
 * right again, was wrong all the same.
 */
export async function judge(run: Run, prefect: PrefectApi): Promise<Judgement> {
  const states = await prefect.readStates(run.flowRunId)
  const history = states.map(
    ({ timestamp, name, message }) =>
      `${timestamp.slice(11, 23)} ${name}${message ? ` (${message.slice(0, 100)})` : ''}`,
  )
  const describe = (kind: Judgement['kind'], what: string): Judgement => ({
    run,
    kind,
    why: `run ${run.number} ${run.flowRunId} (${run.life.kind}): ${what}; over at ${run.overAt.map(at => new Date(at).toISOString().slice(11, 23)).join(', ')}; ${history.join(' -> ')}`,
  })
  const wrong = wrongIn(run, states)
  if (wrong !== undefined) return describe('wrong', wrong)
  const lost = lostIn(run, states)
  return lost === undefined ? describe('right', '') : describe('lost', lost)
}

function wrongIn(run: Run, states: readonly State[]): string | undefined {
  const strange = states.find(({ type }) => NEVER.has(type))
  if (strange) return `was called ${strange.name}`
  const marks = states.filter(({ message }) => message?.includes(ATTEMPT_MARK))
  return wrongAttempts(run, marks) ?? wrongCrash(run, states, marks.length)
}

function wrongAttempts({ life: { truth }, overAt }: Run, marks: readonly State[]): string | undefined {
  if (marks.length > truth.newAttempts) return `${marks.length} new attempts instead of ${truth.newAttempts}`
  const isEarly = marks.some((mark, index) => isBefore(mark, overAt[index]))
  return isEarly ? 'was given a new attempt while it lived' : undefined
}

function wrongCrash(
  { life: { truth }, overAt }: Run,
  states: readonly State[],
  newAttempts: number,
): string | undefined {
  const crashes = states.filter(({ type }) => type === 'CRASHED')
  if (crashes.length > (truth.final === 'CRASHED' ? 1 : 0)) return `crashed ${crashes.length} times`
  const [crash] = crashes
  if (!crash) return undefined
  if (isBefore(crash, overAt[newAttempts + reschedules(states)])) return 'crashed while it lived'
  const code = codeIn(crash)
  return truth.codes.includes(code)
    ? undefined
    : `is explained as ${code} instead of ${truth.codes.join(' or ')}`
}

const codeIn = ({ message }: State): string => /^\[(\w+)\]/.exec(message ?? '')?.[1] ?? 'none'

const reschedules = (states: readonly State[]): number =>
  states.some(({ message }) => message === 'rescheduled on SIGTERM') ? 1 : 0

/** An attempt that is not over has no time, and everything is before it. */
const isBefore = ({ timestamp }: State, at: number | undefined): boolean =>
  at === undefined || Date.parse(timestamp) < at - TOLERANCE_MS

function lostIn({ life: { truth }, isOver }: Run, states: readonly State[]): string | undefined {
  if (!isOver) return 'did not get to its end'
  const last = states.at(-1)
  return last?.type === truth.final
    ? undefined
    : `is ${last?.name ?? 'without a state'} instead of ${truth.final}`
}

/** How many runs are not yet what they must become. */
export async function unsettled(runs: readonly Run[], prefect: PrefectApi): Promise<readonly Run[]> {
  const open: Run[] = []
  for (let start = 0; start < runs.length; start += PAGE) {
    const page = runs.slice(start, start + PAGE)
    const found = await prefect.filterFlowRuns({
      flow_runs: { id: { any_: page.map(({ flowRunId }) => flowRunId) } },
      limit: PAGE,
    })
    const types = new Map(found.map(({ id, state }) => [id, state.type]))
    open.push(...page.filter(run => !run.isOver || types.get(run.flowRunId) !== run.life.truth.final))
  }
  return open
}
