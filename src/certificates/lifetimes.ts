import type { Validity } from './authority.ts'

/** All in milliseconds. */
export interface Lifetimes {
  readonly authorityMs: number
  readonly leafMs: number
  /** How long an apiserver may take to hear of a changed webhook configuration. */
  readonly propagationMs: number
  /** How far certificates are dated back, for clients whose clock is behind. */
  readonly backdateMs: number
  /** How often everything is looked at. */
  readonly tickMs: number
}

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

/**
 * cert-manager's: authority a year, leaf a week, a look every 10 s. Apiservers watch their configurations and know
 * within a second or so; a minute is for one that has to reconnect.
 */
export const LIFETIMES: Lifetimes = {
  authorityMs: 365 * DAY_MS,
  leafMs: 7 * DAY_MS,
  propagationMs: MINUTE_MS,
  backdateMs: 5 * MINUTE_MS,
  tickMs: 10_000,
}

/** The validity of a certificate made at this moment. */
export const validFrom = (
  now: Date,
  lifetimeMs: number,
  { backdateMs }: Pick<Lifetimes, 'backdateMs'>,
): Validity => ({
  notBefore: new Date(now.getTime() - backdateMs),
  notAfter: new Date(now.getTime() + lifetimeMs),
})
