import t from 'tap'

import { createBreakers } from '../../src/prefect/breakers.ts'
import type { BreakersDeps } from '../../src/prefect/breakers.ts'

t.test('each priority has a breaker of its own, and the worst of them is told', async t => {
  const changes: Parameters<BreakersDeps['onChange']>[0][] = []
  const time = { now: 0 }
  const { admission, observer } = createBreakers({
    now: () => time.now,
    random: () => 1,
    onChange: change => changes.push(change),
  })
  admission.failed({ why: 'too slow', retryAfterMs: 1_000 })
  t.ok(admission.waitMs() > 0)
  t.equal(observer.waitMs(), 0)
  observer.failed({ why: 'too slow', retryAfterMs: 2_000 })
  time.now = 1_500
  admission.enter()
  admission.succeeded()
  t.same(changes, [
    { priority: 'admission', state: 'open', worst: 'open' },
    { priority: 'observer', state: 'open', worst: 'open' },
    { priority: 'admission', state: 'halfOpen', worst: 'open' },
    { priority: 'admission', state: 'closed', worst: 'open' },
  ])
})
