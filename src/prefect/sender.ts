import type { Logger } from 'pino'

import { backoffMs } from './backoff.ts'
import type { BackoffRange } from './backoff.ts'
import type { Breakers } from './breakers.ts'
import type { Clock } from './clock.ts'
import type { Exchange, HttpAnswer, HttpRequest } from './connection.ts'
import { PrefectError, PrefectUnavailable } from './errors.ts'
import type { Asked } from './errors.ts'
import type { Priority, RateLimit } from './rate-limit.ts'
import { troubleOfAnswer, troubleOfError } from './trouble.ts'
import type { Trouble } from './trouble.ts'

/**
 * Whether a request may be sent again after its answer was lost.
 * `always`: asking twice means the same. Reads; CRASHED and CANCELLED with a transition id (Prefect answers the
 * second with "already made this state transition"); events, which are stored once per id; logs, where a line
 * twice is better than none.
 * `ifUndone`: only where it certainly changed nothing. FAILED while flow retries remain is replaced by
 * AwaitingRetry without our transition id, and the same request again would destroy that retry; SCHEDULED twice
 * could take the run from the worker that has just picked it up (both measured on 3.8.8).
 */
export type Repeat = 'always' | 'ifUndone'

export interface Call extends Asked {
  readonly priority: Priority
  readonly repeat: Repeat
  readonly signal: AbortSignal
}

interface Patience {
  readonly attempts: number
  readonly attemptMs: number
  /** No attempt begins after this; one that began before has its time, since a write cut short says nothing. */
  readonly totalMs: number
  readonly backoff: BackoffRange
}

/**
 * Admission answers within its webhook's 2 seconds or not at all. The observer's attempts are Prefect's own
 * client's (5 repetitions), in less time: its queue comes back to a run anyway.
 */
const PATIENCE: Readonly<Record<Priority, Patience>> = {
  admission: { attempts: 3, attemptMs: 1_500, totalMs: 2_000, backoff: { baseMs: 50, capMs: 400 } },
  observer: { attempts: 6, attemptMs: 10_000, totalMs: 30_000, backoff: { baseMs: 250, capMs: 8_000 } },
}

/** Full jitter can come out as nothing at all; a caller that was given up on need not be back at once. */
const LEAST_RETRY_AFTER_MS = 250

export interface SenderDeps {
  readonly exchange: Exchange
  readonly breakers: Breakers
  readonly rateLimit: RateLimit
  readonly clock: Clock
  readonly random: () => number
  readonly logger: Logger
}

/** Sends a request as often as is safe and useful; the function that openapi-fetch is given as its `fetch`. */
export type Sender = (call: Call) => (request: Request) => Promise<Response>

type Outcome = { readonly kind: 'answer'; readonly answer: HttpAnswer } | Trouble

const httpRequestOf = async (request: Request, { operation, flowRunId }: Call): Promise<HttpRequest> => {
  const body = await request.text()
  const common = { operation, method: request.method, url: request.url }
  const of = flowRunId === undefined ? {} : { flowRunId }
  if (request.body === null) return { ...common, ...of, headers: {} }
  return { ...common, ...of, headers: { 'content-type': 'application/json' }, body }
}

/** The answer, if it can be Prefect's: a login page of some proxy says 200, too. */
const jsonIn = (answer: HttpAnswer, call: Call): HttpAnswer => {
  const { status, contentType } = answer
  if (status < 200 || status > 299 || status === 204 || contentType.includes('json')) return answer
  throw new PrefectError(
    { ...call, status },
    `answered ${contentType || 'something'} instead of JSON: check PREFECT_API_URL (it ends in /api, but for Prefect Cloud)`,
  )
}

/** Statuses whose responses have no body, which `Response` insists on. */
const hasNoBody = (status: number): boolean => status === 204 || status === 304

const responseOf = ({ status, contentType, date, text }: HttpAnswer): Response =>
  new Response(hasNoBody(status) ? null : text, {
    status,
    headers: { 'content-type': contentType, ...(date === undefined ? {} : { date }) },
  })

/** Takes a turn at the breaker and the rate limit; throws `PrefectUnavailable` when there is none in time. */
const createGate =
  ({ breakers, rateLimit }: SenderDeps) =>
  async (call: Call, maxWaitMs: number): Promise<void> => {
    const breaker = breakers[call.priority]
    const refuseUnless = (waitMs: number): void => {
      if (waitMs === 0) return
      const why = `not asked, since Prefect does not answer (last time: ${breaker.why()})`
      throw new PrefectUnavailable({ ...call, retryAfterMs: waitMs }, why)
    }
    refuseUnless(breaker.waitMs())
    const turn = await rateLimit.take(call.priority, maxWaitMs, call.signal)
    if (!turn.taken)
      throw new PrefectUnavailable({ ...call, ...turn }, 'not asked, as the rate limit is reached')
    refuseUnless(breaker.enter())
  }

/** One request, and what the breaker learns of it. */
const createAttempt =
  ({ exchange, breakers, clock }: SenderDeps) =>
  async (call: Call, request: HttpRequest): Promise<Outcome> => {
    const breaker = breakers[call.priority]
    const deadline = AbortSignal.timeout(PATIENCE[call.priority].attemptMs)
    try {
      const answer = jsonIn(await exchange(request, AbortSignal.any([call.signal, deadline])), call)
      const trouble = troubleOfAnswer(answer, clock.now())
      if (trouble === undefined) breaker.succeeded()
      else breaker.failed(trouble)
      return trouble ?? { kind: 'answer', answer }
    } catch (error) {
      const trouble = troubleOfError(error)
      if (call.signal.aborted || error instanceof PrefectError) breaker.abandoned()
      else breaker.failed(trouble)
      call.signal.throwIfAborted()
      if (error instanceof PrefectError) throw error
      return trouble
    }
  }

export const createSender = (deps: SenderDeps): Sender => {
  const enter = createGate(deps)
  const attempt = createAttempt(deps)

  const waitBefore = (number: number, { backoff }: Patience, trouble: Trouble): number =>
    trouble.retryAfterMs ?? backoffMs(number, backoff, deps.random)

  return call => {
    const patience = PATIENCE[call.priority]
    const giveUpAt = deps.clock.now() + patience.totalMs
    const leftMs = (): number => giveUpAt - deps.clock.now()
    const mayRepeat = (number: number, trouble: Trouble): boolean =>
      number < patience.attempts && (trouble.undone || call.repeat === 'always')

    const from = async (number: number, request: HttpRequest): Promise<Response> => {
      await enter(call, leftMs())
      const outcome = await attempt(call, request)
      if (outcome.kind === 'answer') return responseOf(outcome.answer)
      const waitMs = waitBefore(number, patience, outcome)
      if (!mayRepeat(number, outcome) || waitMs >= leftMs()) {
        const { why, cause } = outcome
        throw new PrefectUnavailable(
          {
            ...call,
            retryAfterMs: Math.max(waitMs, deps.breakers[call.priority].waitMs(), LEAST_RETRY_AFTER_MS),
          },
          why,
          { cause },
        )
      }
      deps.logger.debug(
        { operation: call.operation, flowRunId: call.flowRunId, reason: outcome.why },
        'asking Prefect again',
      )
      await deps.clock.sleep(waitMs, call.signal)
      return from(number + 1, request)
    }
    return async request => from(1, await httpRequestOf(request, call))
  }
}
