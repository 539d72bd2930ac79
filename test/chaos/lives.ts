import { createChance } from './random.ts'
import type { Chance } from './random.ts'

/** What a pod does, in the order of its fields. Times in milliseconds. */
export interface PodScript {
  readonly startMs: number
  /** Its flow says Running before anything else; else it dies before it can. */
  readonly reportsRunning: boolean
  readonly runMs: number
  readonly end: 'completes' | 'saysNothing' | 'exits' | 'oom' | 'evicted' | 'never'
  /** What its flow does about SIGTERM. */
  readonly onTerm: 'dies' | 'completes' | 'reschedules'
}

export interface AttemptScript {
  /** From Pending to the Job, as a worker that is busy. */
  readonly pickUpMs: number
  readonly backoffLimit: number
  /** One for each pod that the Job controller will make. */
  readonly pods: readonly PodScript[]
  /** Somebody deletes the Job: so long after its creation, when its pods have ended, or while nobody watches. */
  readonly deletion?: number | 'afterwards' | 'unseen'
  readonly ttlSeconds?: number
  /** Its pod vanishes with its Job, but its process goes on, cut off from Kubernetes, and completes after so long. */
  readonly livesOnMs?: number
}

/** What is right for a run, whatever went wrong around it. */
export interface Truth {
  readonly final: 'COMPLETED' | 'CRASHED' | 'RUNNING'
  /** Diagnoses that are right; empty where the run does not crash. */
  readonly codes: readonly string[]
  /** How many new attempts are ours to give. */
  readonly newAttempts: number
}

/** A run from its creation to its end: what happens to it, and what is right then. */
export interface Life {
  readonly kind: string
  readonly isTopLevel: boolean
  /** Flow retries that Prefect allows. */
  readonly retries: number
  readonly attempts: readonly AttemptScript[]
  readonly truth: Truth
}

/** Whether Kubernetes gives the run up at some time. */
export const hasDeath = ({ kind, truth }: Life): boolean =>
  truth.final !== 'COMPLETED' || truth.newAttempts > 0 || kind === 'a top-level run dies'

type Maker = (
  chance: Chance,
) => Omit<Life, 'kind' | 'isTopLevel' | 'retries'> & Partial<Pick<Life, 'isTopLevel' | 'retries'>>

const COMPLETED: Truth = { final: 'COMPLETED', codes: [], newAttempts: 0 }
const crashed = (...codes: readonly string[]): Truth => ({ final: 'CRASHED', codes, newAttempts: 0 })

const podOf = (chance: Chance, script: Partial<PodScript>): PodScript => ({
  startMs: chance.between(50, 1_500),
  reportsRunning: true,
  // Most are short, some are long.
  runMs: 500 * 40 ** chance.next(),
  end: 'completes',
  onTerm: 'dies',
  ...script,
})

const attemptOf = (
  chance: Chance,
  pods: readonly Partial<PodScript>[],
  more: Partial<AttemptScript> = {},
): AttemptScript => ({
  pickUpMs: chance.between(0, 1_000),
  backoffLimit: 0,
  pods: pods.map(script => podOf(chance, script)),
  ...more,
})

/** How a death looks, and which diagnosis is right. `exits` and `oom` leave a failed pod, which tells. */
const ENDS = [
  ['oom', 'oom_killed'],
  ['exits', 'error_exit'],
  ['evicted', 'evicted'],
] as const

/** Somebody deletes the Job: pods are gone or were told to go, and what they left may tell of that only. */
const DELETED = ['job_deleted', 'pod_deleted'] as const

/** Kinds of runs with their weights, of a thousand. */
const KINDS: Readonly<Record<string, readonly [weight: number, make: Maker]>> = {
  completes: [
    692,
    chance => ({
      attempts: [attemptOf(chance, [{}], chance.next() < 0.3 ? { ttlSeconds: chance.whole(1, 30) } : {})],
      truth: COMPLETED,
    }),
  ],
  'completes in a second pod': [
    60,
    chance => ({
      attempts: [attemptOf(chance, [{ end: chance.pick(['exits', 'oom']) }, {}], { backoffLimit: 2 })],
      truth: COMPLETED,
    }),
  ],
  'reschedules itself on SIGTERM and completes': [
    50,
    chance => ({
      attempts: [
        attemptOf(chance, [{ end: 'never', onTerm: 'reschedules' }], {
          deletion: chance.between(4_000, 12_000),
        }),
        attemptOf(chance, [{}], { pickUpMs: chance.between(500, 8_000) }),
      ],
      truth: COMPLETED,
    }),
  ],
  'completes although its Job is deleted': [
    20,
    chance => ({
      attempts: [
        attemptOf(chance, [{ end: 'never', onTerm: 'completes' }], {
          deletion: chance.between(3_000, 9_000),
        }),
      ],
      truth: COMPLETED,
    }),
  ],
  'completes and is cleared away': [
    30,
    chance => ({ attempts: [attemptOf(chance, [{}], { deletion: 'afterwards' })], truth: COMPLETED }),
  ],
  'lives on although its Job vanishes, and completes': [
    8,
    chance => ({
      attempts: [
        attemptOf(chance, [{ end: 'never' }], {
          deletion: 'unseen',
          livesOnMs: chance.between(15_000, 45_000),
        }),
      ],
      truth: COMPLETED,
    }),
  ],
  'a top-level run dies': [
    15,
    chance => ({
      isTopLevel: true,
      attempts: [attemptOf(chance, [{ end: 'exits' }])],
      truth: { final: 'RUNNING', codes: [], newAttempts: 0 },
    }),
  ],
  dies: [
    45,
    chance => {
      const [end, code] = chance.pick(ENDS)
      return { attempts: [attemptOf(chance, [{ end }])], truth: crashed(code) }
    },
  ],
  'dies before it is Running': [
    15,
    chance => {
      const [end, code] = chance.pick(ENDS)
      return { attempts: [attemptOf(chance, [{ end, reportsRunning: false }])], truth: crashed(code) }
    },
  ],
  'exits without a report': [
    15,
    chance => ({
      attempts: [attemptOf(chance, [{ end: 'saysNothing' }])],
      truth: crashed('exited_without_reporting'),
    }),
  ],
  'its Job is deleted': [
    15,
    chance => ({
      attempts: [attemptOf(chance, [{ end: 'never' }], { deletion: chance.between(3_000, 10_000) })],
      truth: crashed(...DELETED, 'error_exit'),
    }),
  ],
  'vanishes while nobody watches': [
    10,
    chance => ({
      attempts: [attemptOf(chance, [{ end: 'never' }], { deletion: 'unseen' })],
      truth: crashed(...DELETED, 'unknown'),
    }),
  ],
  'dies in its third pod': [
    10,
    chance => {
      const [end, code] = chance.pick(ENDS)
      const pods = [0, 0, 0].map(() => ({ end, runMs: chance.between(500, 4_000) }))
      return { attempts: [attemptOf(chance, pods, { backoffLimit: 2 })], truth: crashed(code) }
    },
  ],
  'reschedules itself and dies': [
    5,
    chance => ({
      attempts: [
        attemptOf(chance, [{ end: 'never', onTerm: 'reschedules' }], {
          deletion: chance.between(4_000, 12_000),
        }),
        attemptOf(chance, [{ end: 'oom' }], { pickUpMs: chance.between(500, 8_000) }),
      ],
      truth: crashed('oom_killed'),
    }),
  ],
  'dies, and completes in a new attempt of ours': [
    7,
    chance => ({
      retries: 1,
      attempts: [attemptOf(chance, [{ end: 'oom' }]), attemptOf(chance, [{}])],
      truth: { ...COMPLETED, newAttempts: 1 },
    }),
  ],
  'dies, and dies in a new attempt of ours': [
    3,
    chance => ({
      retries: 1,
      attempts: [attemptOf(chance, [{ end: 'exits' }]), attemptOf(chance, [{ end: 'oom' }])],
      truth: { ...crashed('oom_killed'), newAttempts: 1 },
    }),
  ],
}

/** The life of the so-manieth run: of the seed and its number alone, so that it is the same whenever it comes. */
export function lifeOf(seed: number, number: number): Life {
  const chance = createChance(seed, 1_000 + number)
  const [kind, make] = chance.weighted(
    Object.entries(KINDS).map(([kind, [weight, make]]) => [weight, [kind, make]] as const),
  )
  return { isTopLevel: false, retries: 0, ...make(chance), kind }
}
