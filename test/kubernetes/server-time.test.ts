import t from 'tap'

import { createAccess } from '../../src/kubernetes/http/access.ts'
import { systemClock } from '../../src/kubernetes/clock.ts'
import { createServerTime } from '../../src/kubernetes/http/server-time.ts'
import { sendJson, startPeer } from './peer.ts'

const NOON = Date.UTC(2026, 0, 1, 12)
const MINUTE = 60_000

/** The apiserver's time is noon at the monotonic clock's 0; ours is off by so much. */
function createMachine(offByMs: number) {
  let monotonic = 0
  const clock = { now: () => NOON + monotonic + offByMs, monotonic: () => monotonic }
  const time = createServerTime(clock)
  /** A request that the server answers after so long, and whose answer takes so long. */
  const ask = (thereMs: number, backMs: number): void => {
    const sentAt = monotonic
    monotonic += thereMs
    const date = new Date(NOON + monotonic).toUTCString()
    monotonic += backMs
    time.heard(date, sentAt)
  }
  return {
    ask,
    time,
    pass: (ms: number) => {
      monotonic += ms
    },
    /** By how much we believe the server's clock to be ahead of what it is. */
    error: () => time.now() - (NOON + monotonic),
  }
}

for (const [what, offByMs] of Object.entries({
  'minutes ahead': 5 * MINUTE,
  'minutes behind': -5 * MINUTE,
  'years behind': -1e11,
  right: 0,
})) {
  t.test(`a machine whose clock is ${what} knows the apiserver's time after an answer`, async t => {
    const machine = createMachine(offByMs)
    t.equal(machine.error(), offByMs, 'before it, it knows nothing better than its own')
    machine.pass(300)
    machine.ask(5, 5)
    t.ok(Math.abs(machine.error()) <= 1_010, `${machine.error()} ms`)
    const seen = [machine.error()]
    for (let asked = 0; asked < 20; asked += 1) {
      machine.pass(1_937)
      machine.ask(5, 5)
      seen.push(machine.error())
    }
    t.ok(Math.abs(machine.error()) <= 200, `and more exactly after some more: ${seen.join(', ')} ms`)
  })
}

t.test('an answer that was long on its way, or tells no time, changes nothing', async t => {
  const machine = createMachine(0)
  machine.pass(300)
  machine.ask(5, 5)
  const before = machine.error()
  machine.ask(8_000, 15_000)
  machine.ask(15_000, 0)
  machine.ask(0, 15_000)
  machine.time.heard(undefined, 0)
  machine.time.heard('soon', 0)
  t.equal(machine.error(), before)
})

t.test('access listens to good answers, and to no others', async t => {
  const answers = [
    { status: 503, date: 'Thu, 01 Jan 2015 12:00:00 GMT' },
    { status: 200, date: 'Thu, 01 Jan 2026 12:00:00 GMT' },
    { status: 200, date: 'Thu, 01 Jan 2026 12:00:00 GMT' },
  ]
  await using peer = await startPeer(exchange => {
    const { status = 200, date = '' } = answers[exchange.index] ?? {}
    sendJson(exchange, { status, headers: { date }, body: {} })
  })
  const access = createAccess({
    kubeConfig: peer.kubeConfig(),
    clock: { ...systemClock, sleep: async () => {} },
  })
  t.teardown(access.close)
  const { signal } = new AbortController()
  const request = { method: 'GET', path: '/version', signal, parse: () => {} } as const
  await t.rejects(access.request({ ...request, attempts: 1 }), { name: 'KubernetesError', status: 503 })
  t.ok(Math.abs(access.serverNow() - Date.now()) < MINUTE, 'somebody in between may have said that')
  await access.request(request)
  t.ok(Math.abs(access.serverNow() - NOON) < MINUTE)
})
