import type { Instant } from '../core/objects.ts'

/** Kubernetes' MicroTime, which has exactly six decimals. */
export const microTime = (instant: Instant): string => new Date(instant).toISOString().replace('Z', '000Z')
