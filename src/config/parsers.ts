import { z } from 'zod'

/** Texts from the environment become values here; each parser's error is a sentence about the value. */

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const

/** What a timer can count; Node makes 1 ms of anything longer. Source: nodejs.org, timers, `setTimeout`. */
const LONGEST_MS = 2 ** 31 - 1

/** `500ms`, `30s`, `2m`, `1h` -> milliseconds. */
export const duration = z
  .string()
  .regex(/^\d+(ms|s|m|h)$/, 'must be a whole number with a unit, such as 500ms, 30s, 2m or 1h')
  .transform(text => {
    const unit = /[a-z]+$/.exec(text)?.[0]
    return Number.parseInt(text, 10) * (unit === 'ms' || unit === 's' || unit === 'm' ? UNITS[unit] : UNITS.h)
  })
  .pipe(z.number().max(LONGEST_MS, 'must be at most 24 days (596h)'))

/** A duration in which something is done again and again. */
export const interval = duration.pipe(z.number().min(1000, 'must be at least 1s'))

/** As Prefect's own settings take it. */
export const flag = z
  .string()
  .toLowerCase()
  .pipe(z.enum(['true', 'false', '1', '0', 'yes', 'no', 'on', 'off'], 'must be true or false'))
  .transform(text => ['true', '1', 'yes', 'on'].includes(text))

/** `a,b,c`, or a JSON array, as Prefect takes its sets. */
export const list = z.string().transform((text, context) => {
  if (!text.trimStart().startsWith('['))
    return text
      .split(',')
      .map(item => item.trim())
      .filter(item => item !== '')
  const parsed = z.array(z.string().min(1)).safeParse(fromJson(text))
  if (parsed.success) return parsed.data
  context.addIssue({ code: 'custom', message: 'must be a comma-separated list or a JSON array of texts' })
  return z.NEVER
})

/** `key=value,key=value`, or a JSON object, as Prefect takes its mappings. */
export const mapping = z.string().transform((text, context) => {
  const value = text.trimStart().startsWith('{') ? fromJson(text) : fromPairs(text)
  const parsed = z.record(z.string().min(1), z.string()).safeParse(value)
  if (parsed.success) return parsed.data
  context.addIssue({ code: 'custom', message: 'must be key=value,key=value or a JSON object of texts' })
  return z.NEVER
})

/** `name=duration,name=duration`, of certain names -> milliseconds by name. */
export const durations = <K extends string>(names: readonly K[]) =>
  mapping.transform((pairs, context) => {
    const parsed = z.partialRecord(z.enum(names), duration).safeParse(pairs)
    if (parsed.success) return parsed.data
    const message = `must be name=duration,name=duration; names: ${names.join(', ')}`
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  })

/** A whole number from `least` to `most`. */
export const whole = (least: number, most: number) =>
  z
    .string()
    .regex(/^\d+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(least, `must be at least ${least}`).max(most, `must be at most ${most}`))

/** An http(s) address. */
export const address = z.url({ protocol: /^https?$/, error: 'must be an http or https URL' })

function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function fromPairs(text: string): unknown {
  const pairs = text.split(',').filter(pair => pair.trim() !== '')
  if (pairs.some(pair => !pair.includes('='))) return undefined
  return Object.fromEntries(
    pairs.map(pair => {
      const at = pair.indexOf('=')
      return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
    }),
  )
}
