import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import type { Recording } from '../../src/commands/explain.ts'
import { decisionOn, explanationOf, readRecording, writeRecording } from '../../src/commands/explain.ts'
import { job, pod } from '../core/build/objects.ts'
import { FLOW_RUN_ID, run, states } from '../core/build/runs.ts'
import type { World } from '../core/build/world.ts'
import { decideIn, settingsOf } from '../core/build/world.ts'

// Half a dozen processes start, each with everything that the real one loads.
t.setTimeout(600_000)

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** The command line, as a person calls it; without any setting, for a recorded case needs none. */
const explain = (...args: readonly string[]) =>
  new Promise<{ code: number; stdout: string; stderr: string }>(resolve => {
    execFile(process.execPath, [MAIN, 'explain', ...args], { env: {} }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr })
    })
  })

const recordingIn = (world: World): Recording => ({
  facts: decideIn(world).facts,
  settings: settingsOf(world),
})

const DEAD: World = { jobs: [job({ failed: 'BackoffLimitExceeded' })], pods: [pod({ oom: true })] }

const CASES: Readonly<Record<string, { world: World; says: RegExp }>> = {
  'a run that lives': { world: { jobs: [job()], pods: [pod()] }, says: /Nothing is done \(JobIsActive\)\./ },
  'a run to be crashed': {
    world: DEAD,
    says: /^ {4}Crashed \(JobFailed\)\.\n {4}\[oom_killed\] .+ Resolution: /m,
  },
  'a run to be failed': {
    world: { ...DEAD, settings: { failureState: 'failed' } },
    says: /Crashed, then Failed \(JobFailed\)\./,
  },
  'a run to be reported': {
    world: { ...DEAD, settings: { failureState: 'report' } },
    says: /Reported only \(JobFailed\); set to act, it would be: crash\./,
  },
  'a run with a new attempt': {
    world: {
      ...DEAD,
      run: run({ retries: 2, retryDelaySeconds: 10 }),
      states: states('Scheduled', 'Pending'),
    },
    says: /A new attempt in 10 s, 1 of at most 5 \(RetriesAreLeft\)\./,
  },
  'a run to be cancelled': {
    world: { ...DEAD, now: 300, run: run({ state: 'Cancelling@5' }) },
    says: /Cancelled \(FlowRunIsCancelling\)\./,
  },
  'a run to wait for': {
    world: { ...DEAD, now: 31, jobs: [job({ complete: true })], pods: [] },
    says: /Nothing is done yet \(RunHasJustEnded\); looked at again in \d+ s\./,
  },
  'a run that Prefect could not be asked about': {
    world: { ...DEAD, run: 'unknown' },
    says: /flow run: unknown, the API server answered 503/,
  },
}

t.test('a recorded case is decided again, with the same verdict', async t => {
  const folder = t.testdir({})
  for (const [sentence, { world, says }] of Object.entries(CASES)) {
    const path = join(folder, 'case.json')
    await writeRecording(path, recordingIn(world))
    const recording = await readRecording(path)
    const { verdict, trail } = decideIn(world)
    t.same(decisionOn(recording), { verdict, trail }, sentence)
    t.match(explanationOf(recording), says, `${sentence}: for people`)
  }
})

t.test('a case where something is still to be read says so', t => {
  const { facts, settings } = recordingIn(DEAD)
  const { flowRun: _, ...before } = facts
  t.match(explanationOf({ facts: before, settings }), 'Undecided: flowRun would have to be read first.')
  t.end()
})

t.test('the explanation has the facts, the rules up to the one that decided, and the diagnosis', t => {
  const text = explanationOf(recordingIn(DEAD))
  t.match(text, `Flow run ${FLOW_RUN_ID} at 2026-03-04T12:01:00.000Z`)
  t.match(text, /^Facts\n {4}life: dead JobFailed, from a live list\n {4}Job team\/etl uid etl/m)
  t.match(text, /^Rules, in order; the last one decided\n {4}runIsAlive\n/m)
  t.match(text, /^ {2}> runIsDead: crash JobFailed\n\nVerdict\n/m)
  t.match(text, /\(diagnosed by the rule \w+\)/)
  t.end()
})

t.test('what is no recorded case is told in words', async t => {
  const { facts, settings } = recordingIn(DEAD)
  const folder = t.testdir({
    'no.json': 'certainly not',
    'other.json': '{"facts": {"flowRunId": 7}}',
    'hollow.json': JSON.stringify({ facts: { ...facts, jobs: { known: true } }, settings }),
  })
  const wrong: Readonly<Record<string, readonly [file: string, message: RegExp]>> = {
    'a file that is not there': ['nowhere.json', /nowhere\.json is no recorded case: .*ENOENT/],
    'a folder': ['.', /is no recorded case: .*EISDIR/],
    'a file that is no JSON': ['no.json', /no\.json is no recorded case: SyntaxError/],
    'a file of something else': ['other.json', /other\.json is no recorded case: (.*\n)+.*facts\.now/],
    'a case that has an outline only': ['hollow.json', /hollow\.json is no recorded case: TypeError/],
  }
  for (const [sentence, [file, message]] of Object.entries(wrong))
    await t.rejects(readRecording(join(folder, file)), { name: 'ArgumentError', message }, sentence)
})

t.test('on the command line', async t => {
  const { facts, settings } = recordingIn(DEAD)
  const folder = t.testdir({
    'case.json': JSON.stringify({ facts, settings }),
    'no.json': 'certainly not',
  })
  const file = (name: string): string => join(folder, name)

  t.test('for people', async t => {
    const { code, stdout, stderr } = await explain('--file', file('case.json'))
    t.strictSame([code, stderr], [0, ''])
    t.equal(stdout, explanationOf({ facts, settings }))
  })
  t.test('for programs: one object', async t => {
    const { code, stdout } = await explain(
      '--file',
      file('case.json'),
      '--json',
      '--record',
      file('again.json'),
    )
    t.equal(code, 0)
    t.match(JSON.parse(stdout), {
      verdict: { kind: 'crash', reason: 'JobFailed', diagnosis: { code: 'oom_killed' } },
      trail: { facts: [], rules: [] },
    })
    t.same(JSON.parse(await readFile(file('again.json'), 'utf8')), { facts, settings }, 'and recorded again')
  })
  t.test('what it cannot do it tells in words, without a stack, and with its own code', async t => {
    const [broken, nothing] = await Promise.all([explain('--file', file('no.json')), explain()])
    t.match(broken, { code: 2, stdout: '', stderr: /no\.json is no recorded case: SyntaxError/ })
    t.match(nothing, { code: 2, stdout: '', stderr: /^say which flow run, or --file\n$/ })
    t.notMatch(broken.stderr, /^\s+at /m)
  })
  t.test('a live run needs settings', async t => {
    const { code, stderr } = await explain(FLOW_RUN_ID)
    t.equal(code, 2)
    t.match(stderr, /^PREFECT_API_URL is not set/)
  })
})
