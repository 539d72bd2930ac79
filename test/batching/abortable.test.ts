import t from 'tap'

import { abortable } from '../../src/batching/abortable.ts'
import { systemClock } from '../../src/prefect/clock.ts'
import { neverAborted } from '../prefect/help.ts'

const never = Promise.withResolvers<never>().promise

t.test('a promise that settles first wins', async t => {
  t.equal(await abortable(Promise.resolve(1), neverAborted), 1)
  await t.rejects(abortable(Promise.reject(new Error('no')), neverAborted), { message: 'no' })
})

t.test('a signal that aborts first, or has aborted, wins', async t => {
  const stop = new AbortController()
  const waiting = abortable(never, stop.signal)
  stop.abort(new Error('stopping'))
  await t.rejects(waiting, { message: 'stopping' })
  await t.rejects(abortable(Promise.resolve(1), stop.signal), { message: 'stopping' })
})

t.test('what nobody waits for any more may fail', async t => {
  const { promise, reject } = Promise.withResolvers<never>()
  await t.rejects(abortable(promise, AbortSignal.abort(new Error('stopping'))), { message: 'stopping' })
  // Unhandled, it would end the process.
  reject(new Error('no'))
})

t.test('waiting ends when the time is over, or with the reason of the signal', async t => {
  await systemClock.sleep(1, neverAborted)
  const stop = new AbortController()
  const waiting = systemClock.sleep(60_000, stop.signal)
  stop.abort(new Error('stopping'))
  await t.rejects(waiting, { message: 'stopping' })
  t.equal(Math.abs(systemClock.now() - Date.now()) < 1_000, true)
})
