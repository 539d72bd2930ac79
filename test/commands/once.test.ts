import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once as eventOf } from 'node:events'
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { ArgumentError } from '../../src/commands/explain.ts'
import { exitCodeOf, Stopped } from '../../src/commands/once.ts'
import { ConfigError } from '../../src/config.ts'
import { KubernetesError } from '../../src/kubernetes/http/errors.ts'
import { PrefectError, PrefectUnavailable } from '../../src/prefect/errors.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

t.test('an error that says all there is to know has a code; a mistake of ours has a stack', async t => {
  const asked = { operation: 'readFlowRun' }
  const cases: readonly (readonly [error: Error, code: number | undefined])[] = [
    [new ConfigError('PREFECT_API_URL is not set'), 2],
    [new ArgumentError('say which'), 2],
    [new KubernetesError({ method: 'GET', path: '/version', code: 'ECONNREFUSED' }, 'refused'), 3],
    [new PrefectError({ ...asked, status: 401 }, 'answered 401'), 3],
    [new PrefectUnavailable({ ...asked, retryAfterMs: 5 }, 'down'), 3],
    [new Stopped('stopped by SIGINT'), 130],
    [new TypeError('undefined is not a function'), undefined],
  ]
  for (const [error, code] of cases) t.equal(exitCodeOf(error), code, error.name)
})

t.test('Ctrl-C ends a command that waits for an API, in a word', async t => {
  // Takes connections and never says a word.
  const silent = createServer(() => {})
  silent.listen(0, '127.0.0.1')
  await eventOf(silent, 'listening')
  const { port } = silent.address() as AddressInfo
  const connected = eventOf(silent, 'connection')
  const child = spawn(process.execPath, [MAIN, 'scan'], {
    env: { HOME: t.testdir({}), PREFECT_API_URL: `http://127.0.0.1:${port}/api` },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const errors: string[] = []
  child.stderr.on('data', chunk => errors.push(String(chunk)))
  const [socket] = await connected
  child.kill('SIGINT')
  const [code] = await eventOf(child, 'close')
  socket.destroy()
  silent.close()
  t.strictSame([code, errors.join('')], [130, 'stopped by SIGINT\n'])
})
