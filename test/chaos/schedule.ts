import type { AnswerFault } from './gateway.ts'
import type { LinkFault } from './link.ts'
import { createChance } from './random.ts'
import type { Chance } from './random.ts'

/** The product runs in two replicas that contend for the lease. */
export const REPLICAS = ['a', 'b'] as const
export type ReplicaName = (typeof REPLICAS)[number]
export type Server = 'apiserver' | 'prefect'

/** Something that goes wrong between some replicas and a server, and how long. */
export interface ConnectionFault {
  readonly scope: 'connections'
  readonly replicas: readonly ReplicaName[]
  readonly server: Server
  readonly what: LinkFault | AnswerFault | { readonly kind: 'reset' }
  readonly forMs: number
}

/** Something that happens to a process. */
export interface ProcessFault {
  readonly scope: 'process'
  readonly what:
    /** Its API is gone for so long. */
    | { readonly kind: 'apiserverRestart'; readonly signal: 'SIGTERM' | 'SIGKILL'; readonly downMs: number }
    /** And etcd forgets what was before: watches are answered 410. */
    | { readonly kind: 'compaction' }
    | { readonly kind: 'prefectDown'; readonly downMs: number }
    /** `kill -9`, and started again after so long. */
    | { readonly kind: 'kill'; readonly replica: ReplicaName; readonly downMs: number }
    /** The leader is told to go and hands over. */
    | { readonly kind: 'handOver' }
    /** The leader is frozen until it has lost its lease, and wakes up believing that it leads. */
    | { readonly kind: 'freeze'; readonly forMs: number }
    /** Nobody watches for so long, and Jobs vanish meanwhile. */
    | { readonly kind: 'blackout'; readonly downMs: number }
}

/** Something that happens to the wall clock of a replica's machine. */
export interface ClockFault {
  readonly scope: 'clock'
  readonly replica: ReplicaName
  /** From now on it is off by so many milliseconds. */
  readonly what: { readonly kind: 'clock'; readonly offByMs: number }
}

export type Fault = (ConnectionFault | ProcessFault | ClockFault) & {
  /** Milliseconds after the start. */
  readonly at: number
}

/**
 * Between two faults of connections. They overlap, as many last longer than that; denser, nobody would ever lead, and
 * only the end of the chaos would be tested.
 */
const CONNECTION_EVERY_MS = [4_000, 20_000] as const
/** From the end of one fault of processes to the next: these come one at a time, or nothing would be left to test. */
const PROCESS_EVERY_MS = [12_000, 40_000] as const
/** Between two settings of clocks; the first comes at the start. */
const CLOCK_EVERY_MS = [10_000, 60_000] as const
/** Longer than every grace of the product here, and than those by default but the longest. */
const MOST_OFF_MS = 600_000
/** Time for the product to start and to see the first deaths undisturbed. */
const FIRST_MS = 4_000

/** Everything that will go wrong in so many milliseconds, oldest first; the same seed gives the same. */
export function scheduleOf(seed: number, durationMs: number): readonly Fault[] {
  const faults = [
    ...connectionFaults(createChance(seed, 1), durationMs),
    ...processFaults(createChance(seed, 2), durationMs),
    ...clockFaults(createChance(seed, 4), durationMs),
  ]
  return faults.toSorted((a, b) => a.at - b.at)
}

function connectionFaults(chance: Chance, durationMs: number): Fault[] {
  const faults: Fault[] = []
  for (let at = FIRST_MS; at < durationMs; at += chance.between(...CONNECTION_EVERY_MS)) {
    const { what, forMs } = chance.pick(CONNECTION_FAULTS)(chance)
    faults.push({
      scope: 'connections',
      at,
      server: chance.pick(['apiserver', 'prefect'] as const),
      replicas: chance.weighted<readonly ReplicaName[]>([
        [2, REPLICAS],
        [1, ['a']],
        [1, ['b']],
      ]),
      what,
      forMs: Math.min(forMs, durationMs - at),
    })
  }
  return faults
}

type ConnectionTrouble = Pick<ConnectionFault, 'what' | 'forMs'>

/** How long each may last: short ones are overcome by a repetition, long ones by no deadline of ours. */
const CONNECTION_FAULTS: readonly ((chance: Chance) => ConnectionTrouble)[] = [
  () => ({ what: { kind: 'reset' }, forMs: 0 }),
  chance => ({ what: { kind: 'stall' }, forMs: 5_000 * 24 ** chance.next() }),
  chance => ({ what: { kind: 'halfOpen' }, forMs: chance.between(2_000, 40_000) }),
  chance => ({ what: { kind: 'refused' }, forMs: chance.between(1_000, 20_000) }),
  chance => ({ what: { kind: 'latency', ms: chance.whole(20, 800) }, forMs: chance.between(5_000, 30_000) }),
  chance => ({
    what: { kind: 'cut', afterBytes: chance.whole(100, 200_000) },
    forMs: chance.between(5_000, 25_000),
  }),
  errors,
  errors,
  chance => ({
    what: { kind: 'lostAnswers', share: chance.between(0.1, 0.8) },
    forMs: chance.between(3_000, 15_000),
  }),
]

function errors(chance: Chance): ConnectionTrouble {
  const retryAfter = chance.next() < 0.5 ? { retryAfter: chance.whole(1, 10) } : {}
  return {
    what: {
      kind: 'errors',
      status: chance.pick([429, 500, 502, 503, 504]),
      share: chance.between(0.2, 1),
      ...retryAfter,
    },
    forMs: chance.between(3_000, 25_000),
  }
}

function processFaults(chance: Chance, durationMs: number): Fault[] {
  const faults: Fault[] = []
  let at = FIRST_MS + chance.between(...PROCESS_EVERY_MS)
  while (at < durationMs) {
    const what = chance.weighted(PROCESS_FAULTS)(chance)
    faults.push({ scope: 'process', at, what })
    const lasts = 'downMs' in what ? what.downMs : 'forMs' in what ? what.forMs : 0
    at += lasts + chance.between(...PROCESS_EVERY_MS)
  }
  return faults
}

const PROCESS_FAULTS: readonly (readonly [number, (chance: Chance) => ProcessFault['what']])[] = [
  [
    2,
    chance => ({
      kind: 'apiserverRestart',
      signal: chance.pick(['SIGTERM', 'SIGKILL']),
      downMs: chance.between(0, 8_000),
    }),
  ],
  [1, () => ({ kind: 'compaction' })],
  [1, chance => ({ kind: 'prefectDown', downMs: chance.between(20_000, 60_000) })],
  [5, chance => ({ kind: 'kill', replica: chance.pick(REPLICAS), downMs: chance.between(500, 8_000) })],
  [2, () => ({ kind: 'handOver' })],
  [1, chance => ({ kind: 'freeze', forMs: chance.between(12_000, 25_000) })],
  [1, chance => ({ kind: 'blackout', downMs: chance.between(5_000, 15_000) })],
]

function clockFaults(chance: Chance, durationMs: number): Fault[] {
  const faults: Fault[] = []
  for (let at = 0; at < durationMs; at += chance.between(...CLOCK_EVERY_MS)) {
    const what = { kind: 'clock', offByMs: chance.whole(-MOST_OFF_MS, MOST_OFF_MS) } as const
    faults.push({ scope: 'clock', at, replica: chance.pick(REPLICAS), what })
  }
  return faults
}

/** A fault in words, for the log. */
export function faultInWords(fault: Fault): string {
  const { kind, ...details } = fault.what
  const numbers = Object.entries(details).map(
    ([name, value]) =>
      `${name} ${typeof value === 'number' && Math.abs(value) >= 2 ? Math.round(value) : typeof value === 'number' ? value.toFixed(2) : String(value)}`,
  )
  const where = fault.scope === 'process' ? [] : placeOf(fault)
  return [kind, ...where, ...numbers].join(', ')
}

function placeOf(fault: ConnectionFault | ClockFault): readonly string[] {
  if (fault.scope === 'clock') return [`replica ${fault.replica}`]
  const place = `between ${fault.replicas.join(' and ')} and ${fault.server}`
  return fault.forMs > 0 ? [place, `for ${Math.round(fault.forMs / 100) / 10} s`] : [place]
}
