import { spawn, spawnSync } from 'node:child_process'
import t from 'tap'
import type { LogOptions } from '../../src/operations/logger.ts'

const MODULE = new URL('../../src/operations/logger.ts', import.meta.url).href

const programOf = (options: LogOptions, statements: string): string[] => [
  '--input-type=module',
  '-e',
  `import { createLogger } from ${JSON.stringify(MODULE)}
  const log = createLogger(${JSON.stringify(options)})
  ${statements}`,
]

/** What a process writes to standard output that logs so. */
function logged(options: LogOptions, statements: string): string {
  const { stdout, stderr } = spawnSync(process.execPath, programOf(options, statements), { encoding: 'utf8' })
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

t.test('the time is right to the millisecond, also when a second begins', t => {
  const times = ['09:59:59.998', '09:59:59.999', '10:00:00.000', '10:00:00.010', '09:59:59.999']
  const clock = `const times = ${JSON.stringify(times.map(time => Date.parse(`2026-11-24T${time}Z`)))}
    Date.now = () => times.shift()`
  const lines = logged(JSON_LINES, `${clock}; for (const _ of times.slice()) log.info('one')`)
  t.strictSame(
    lines
      .trim()
      .split('\n')
      .map(line => JSON.parse(line).time),
    times.map(time => `2026-11-24T${time}Z`),
  )
  t.end()
})

t.test('what was logged before an uncaught error is written', t => {
  const program = programOf(JSON_LINES, "log.info('one'); setImmediate(() => { throw new Error('two') })")
  const { stdout, stderr } = spawnSync(process.execPath, program, { encoding: 'utf8' })
  t.match(stderr, 'Error: two')
  t.match(stdout, '"msg":"one"')
  t.end()
})

/** As if time stood still: nothing is written because it has waited long enough. */
const TIMELESS = 'globalThis.setTimeout = () => ({ unref() {} });'

const prompt: Readonly<Record<string, string>> = {
  'a line that no other follows': "log.info('last')",
  'a warning, whenever it comes': `${TIMELESS} log.warn('last')`,
  'what came before a warning': `${TIMELESS} log.info('last'); log.warn('warning')`,
  'lines that are many': `${TIMELESS} for (let n = 0; n < 1000; n += 1) log.info(n === 500 ? 'last' : 'another')`,
}

for (const [sentence, statements] of Object.entries(prompt)) {
  t.test(`is written while the process goes on: ${sentence}`, async t => {
    const child = spawn(
      process.execPath,
      programOf(JSON_LINES, `setInterval(() => {}, 60_000); ${statements}`),
    )
    t.teardown(() => child.kill('SIGKILL'))
    let text = ''
    for await (const chunk of child.stdout) {
      text += String(chunk)
      if (text.includes('"msg":"last"')) break
    }
    t.match(text, '"msg":"last"')
  })
}

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
