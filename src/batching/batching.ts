import { performance } from 'node:perf_hooks'

/** Runs `act` after so many milliseconds unless the returned function is called first. */
type After = (ms: number, act: () => void) => () => void

const systemAfter: After = (ms, act) => {
  const timer = setTimeout(act, ms)
  return () => {
    clearTimeout(timer)
  }
}

interface Waits {
  /** Until nobody has come for so long, ... */
  readonly pauseMs: number
  /** ... or at the latest after this. */
  readonly longestMs: number
}

/** How long those who ask wait for others to be asked about in the same request, in milliseconds. */
export interface Gathering {
  /** While nobody else asks. Whoever asks one after the other does not notice. */
  readonly aloneMs: number
  /**
   * While another one waits, is being answered, or was asked about up to `lingerMs` ago: more may be coming, and nobody
   * is held up by waiting for them.
   */
  readonly company: Waits & { readonly lingerMs: number }
  /**
   * While a request has at least so many ids, or one of up to `lingerMs` ago had. The slower Prefect answers, the
   * shorter is the longest wait, down to that in company.
   */
  readonly burst?: Waits & { readonly lingerMs: number; readonly ids: number }
  /** How many requests may be under way. Where that many are, the next one, unless it is full, waits and fills. */
  readonly requests: number
}

export interface BatchingDeps<T> {
  /** One request for several ids, the answers in their order; where it fails, all who asked are told. An answer may still be to come. */
  readonly ask: (ids: readonly string[]) => Promise<readonly (T | Promise<T>)[]>
  /** Ids per request at most. */
  readonly most: number
  readonly gathering: Gathering
  /** The system's where absent, as is `now`, in milliseconds. */
  readonly after?: After
  readonly now?: () => number
}

const systemNow = (): number => performance.now()

interface Batch<T> {
  readonly openedAt: number
  readonly ids: string[]
  readonly waiting: PromiseWithResolvers<T>[]
  cancel: () => void
  /** It has waited long enough, and goes as soon as it may. */
  isDue: boolean
}

/** Asks for ids one by one, answered by as few requests as that takes; the same id twice is asked twice. */
export const createBatching = <T>(deps: BatchingDeps<T>): ((id: string) => Promise<T>) => {
  const { most, gathering, after = systemAfter, now = systemNow } = deps
  const traffic = createTraffic(gathering, now)
  let open: Batch<T> | undefined

  const send = async (batch: Batch<T>): Promise<void> => {
    batch.cancel()
    if (open === batch) open = undefined
    const answered = traffic.sent(batch.ids.length)
    await answer(batch, deps.ask)
    answered()
    if (open?.isDue) sendIfAllowed(open)
  }
  const sendIfAllowed = (batch: Batch<T>): void => {
    batch.isDue = true
    if (traffic.isFree()) void send(batch)
  }
  const sendLater = (batch: Batch<T>): void => {
    if (batch.isDue) return
    batch.cancel()
    const { pauseMs, longestMs } = traffic.waits(batch.ids.length)
    batch.cancel = after(Math.max(0, Math.min(pauseMs, batch.openedAt + longestMs - now())), () => {
      sendIfAllowed(batch)
    })
  }
  return id => {
    open ??= { openedAt: now(), ids: [], waiting: [], cancel: () => {}, isDue: false }
    const one = Promise.withResolvers<T>()
    open.ids.push(id)
    open.waiting.push(one)
    if (open.ids.length === most) void send(open)
    else sendLater(open)
    return one.promise
  }
}

/** Tells everybody in a batch what there is to tell. Never rejects. */
const answer = async <T>({ ids, waiting }: Batch<T>, ask: BatchingDeps<T>['ask']): Promise<void> => {
  try {
    const answers = await ask(ids)
    for (const [index, one] of answers.entries()) waiting[index]?.resolve(one)
  } catch (error) {
    for (const { reject } of waiting) reject(error)
  }
}

/** So much of a slow answer counts when the next one has come. */
const FADING = 0.8

/** What is under way and was, and what that means for those who wait. */
const createTraffic = ({ aloneMs, company, burst, requests }: Gathering, now: () => number) => {
  let underWay = 0
  let sentAt = Number.NEGATIVE_INFINITY
  let burstAt = Number.NEGATIVE_INFINITY
  let slowestMs = 0
  const isAlone = (ids: number): boolean => ids === 1 && underWay === 0 && now() - sentAt >= company.lingerMs
  return {
    /** A request goes out; what is returned is called when it has been answered. */
    sent: (ids: number): (() => void) => {
      const at = now()
      underWay += 1
      sentAt = at
      if (burst && ids >= burst.ids) burstAt = at
      return () => {
        underWay -= 1
        slowestMs = Math.max(now() - at, slowestMs * FADING)
      }
    },
    isFree: (): boolean => underWay < requests,
    /** For a request that has so many ids so far. */
    waits: (ids: number): Waits => {
      if (burst && (ids >= burst.ids || now() - burstAt < burst.lingerMs))
        return { ...burst, longestMs: Math.max(company.longestMs, burst.longestMs - slowestMs) }
      return isAlone(ids) ? { pauseMs: aloneMs, longestMs: aloneMs } : company
    },
  }
}
