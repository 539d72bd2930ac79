import t from 'tap'

import { messageOf, PrefectError, PrefectUnavailable } from '../../src/prefect/errors.ts'

t.test('errors say what was asked, on which run, and what to do next', async t => {
  const asked = { operation: 'proposeState', flowRunId: 'run' }
  t.match(new PrefectError({ ...asked, status: 422 }, 'answered 422'), {
    name: 'PrefectError',
    message: 'Prefect, proposeState of flow run run: answered 422',
    status: 422,
    ...asked,
  })
  t.match(new PrefectUnavailable({ operation: 'health', retryAfterMs: 250 }, 'answered 503'), {
    name: 'PrefectUnavailable',
    message: 'Prefect, health: answered 503; again in 250 ms',
    retryAfterMs: 250,
    flowRunId: undefined,
  })
})

t.test('whatever was thrown has a message', async t => {
  t.equal(messageOf(new TypeError('odd')), 'odd')
  t.equal(messageOf('text'), 'text')
})
