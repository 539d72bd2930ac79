import { spawnSync } from 'node:child_process'
import t from 'tap'
import type { LogOptions } from '../../src/operations/logger.ts'

const MODULE = new URL('../../src/operations/logger.ts', import.meta.url).href

/** What a process writes to standard output that logs so. */
function logged(options: LogOptions, statements: string): string {
  const script = `
    import { createLogger } from ${JSON.stringify(MODULE)}
    const log = createLogger(${JSON.stringify(options)})
    ${statements}`
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
  })
  if (stderr !== '') throw new Error(stderr)
  return stdout
}

const JSON_LINES = { level: 'info', format: 'json' } as const
const PRETTY = { level: 'info', format: 'pretty' } as const

t.test('for machines: an object a line, with a time that people can read', t => {
  const lines = logged(JSON_LINES, "log.info({ flowRunId: 'a' }, 'one'); log.debug('two'); log.warn('three')")
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  t.match(lines, [
    { level: 30, time: /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, flowRunId: 'a', msg: 'one' },
    { level: 40, msg: 'three' },
  ])
  t.strictSame(Object.keys(lines[0]), ['level', 'time', 'flowRunId', 'msg'], 'neither pid nor host')
  t.end()
})

t.test('lines are written beside the work, and none is left behind at the exit', t => {
  const statements = "for (let n = 0; n < 1000; n += 1) log.info({ n }, 'one'); process.exit()"
  t.equal(logged(JSON_LINES, statements).trim().split('\n').length, 1000)
  t.end()
})

t.test('for people: a line', t => {
  const text = logged(PRETTY, "log.warn({ flowRunId: 'a' }, 'one')")
  t.match(text, /^\[[\d:.]+\] .*WARN.*one/)
  t.match(text, 'flowRunId')
  t.end()
})

t.test('the text is found where one greps for it', t => {
  t.match(logged(JSON_LINES, "log.warn({}, '[oom_killed] Container main was killed.')"), '[oom_killed]')
  t.end()
})

t.test('a secret never appears', t => {
  const statements: Readonly<Record<string, string>> = {
    'in headers': "log.info({ headers: { authorization: 'hunter2' } }, 'x')",
    'in a header of another name':
      "log.info({ headers: { 'X-Token': 'hunter2', Authorization: 'hunter2' } }, 'x')",
    'in an error that carries its request along':
      "log.error({ err: Object.assign(new Error('503'), { headers: { authorization: 'hunter2' } }) }, 'x')",
    'in a request': "log.info({ request: { headers: { authorization: 'hunter2' } } }, 'x')",
    'in settings':
      "log.info({ apiKey: 'hunter2', authString: 'u:hunter2', customHeaders: { a: 'hunter2' }, password: 'hunter2', token: 'hunter2' }, 'x')",
    'in settings of one of the APIs':
      "log.info({ prefect: { apiKey: 'hunter2', authString: 'u:hunter2', customHeaders: { a: 'hunter2' } } }, 'x')",
    'in a child’s own fields': "log.child({ api: { authorization: 'hunter2' } }).info('x')",
  }
  const all = Object.values(statements).join('\n')
  const lines = logged(JSON_LINES, all).trim().split('\n')
  for (const [n, sentence] of Object.keys(statements).entries()) {
    t.match(lines[n], '(redacted)', sentence)
    t.notMatch(lines[n], 'hunter2', sentence)
  }
  t.notMatch(logged(PRETTY, all), 'hunter2', 'nor in what is for people')
  t.end()
})
