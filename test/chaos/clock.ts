/**
 * Loaded before a replica (`node --import`): its wall clock is off by as much as its parent says, at its start and
 * again at any moment. Only what the program reads is changed, which is `Date`: the monotonic clock, timers and TLS go on
 * as they are, as on a machine whose clock somebody has set.
 */
const { Date: SystemDate } = globalThis
const { now } = SystemDate

let offsetMs = Number(process.env['CHAOS_CLOCK_OFFSET_MS'] ?? 0)

process.on('message', message => {
  if (typeof message === 'number') offsetMs = message
})
// The way to the parent is no reason to live.
process.channel?.unref()

SystemDate.now = () => now() + offsetMs
globalThis.Date = new Proxy(SystemDate, {
  construct: (target, parts: unknown[], made): object =>
    Reflect.construct(target, parts.length === 0 ? [target.now()] : parts, made) as object,
})
