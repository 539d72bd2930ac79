import t from 'tap'
import { createFoundation } from '../../src/commands/foundation.ts'
import type { Scan, ScannedRun } from '../../src/commands/scan/scan.ts'
import { scanAndFix } from '../../src/commands/scan/command.ts'
import type { ScanOptions } from '../../src/commands/scan/command.ts'
import { scanAsJson, scanInWords } from '../../src/commands/scan/view.ts'
import { readConfig } from '../../src/config.ts'
import { job, pod } from '../core/build/objects.ts'
import { run, states } from '../core/build/runs.ts'
import type { World } from '../core/build/world.ts'
import { decideIn } from '../core/build/world.ts'
import { at } from '../fixtures/kubernetes.ts'

/** How a scan is told; that it finds what there is, is test/integration/command-line.test.ts. */

const NOW = at(7260)

function scannedIn(world: World, more: Partial<ScannedRun> = {}): ScannedRun {
  const { facts, verdict, trail } = decideIn(world)
  return { run: run({}), facts, decision: { verdict, trail }, ...more }
}

const scanOf = (...runs: readonly ScannedRun[]): Scan => ({ at: NOW, runs, inProcess: 0, isComplete: true })

const DEAD: World = { jobs: [job({ failed: 'BackoffLimitExceeded' })], pods: [pod({ oom: true })] }

const TARGETS = { context: 'c', cluster: 'https://k', prefect: 'http://p/api' }

const CASES: Readonly<Record<string, { world: World; more?: Partial<ScannedRun>; says: RegExp }>> = {
  'a run to be crashed': {
    world: DEAD,
    says: /Running +2h1?\w* +team\/etl +oom_killed +Crashed \(JobFailed\)$/m,
  },
  'a run to be failed': {
    world: { ...DEAD, settings: { failureState: 'failed' } },
    says: /oom_killed +Failed \(JobFailed\)$/m,
  },
  'a run with a retry left': {
    world: { ...DEAD, run: run({ retries: 2 }), states: states('Scheduled', 'Pending') },
    says: /oom_killed +new attempt 1 of 5 \(RetriesAreLeft\)$/m,
  },
  'a run to be cancelled': {
    world: { ...DEAD, now: 300, run: run({ state: 'Cancelling@5' }) },
    says: /Cancelled \(FlowRunIsCancelling\)$/m,
  },
  'a run that lives': {
    world: { jobs: [job()], pods: [pod()] },
    says: /team\/etl +- +leave it \(JobIsActive\)$/m,
  },
  'a run to wait for': {
    world: { now: 31, jobs: [job({ complete: true })], pods: [] },
    says: /- +wait \d+s \(RunHasJustEnded\)$/m,
  },
  'a run that cannot start': {
    world: { jobs: [job()], pods: [pod({ phase: 'Pending', waiting: 'ImagePullBackOff' })] },
    says: /image_pull_backoff +tell only \(StartIsStuck\)$/m,
  },
  'a run that could not be looked at': {
    world: { ...DEAD, run: 'unknown' },
    more: { trouble: new Error('GET /api/v1/pods: 403 Forbidden') },
    says: /undecided: GET \/api\/v1\/pods: 403 Forbidden$/m,
  },
}

t.test('each verdict has a few words in the table', async t => {
  for (const [sentence, { world, more = {}, says }] of Object.entries(CASES))
    t.match(scanInWords(scanOf(scannedIn(world, more))), says, sentence)
})

t.test('the diagnosis in full stands below, and what there is in all', async t => {
  const text = scanInWords({ ...scanOf(scannedIn(DEAD)), inProcess: 2, isComplete: false })
  t.match(text, /^[0-9a-f-]{36} \S+: \[oom_killed\] .* Resolution: /m)
  t.match(
    text,
    "1 live subflow run, 1 to be moved, 2 more inside their parents' processes, there are more than were looked at\n",
  )
  t.equal(scanInWords(scanOf()), '0 live subflow runs, 0 to be moved\n', 'nothing is told in a line')
})

const jobIn = (world: World, more: Partial<ScannedRun> = {}) =>
  scanAsJson(scanOf(scannedIn(world, more)), TARGETS).runs[0]?.job

t.test('a Job is named, be it gone or nowhere to be seen', async t => {
  const gone = { jobs: [job({ gone: 5 })], pods: [] }
  const { infrastructurePid: _pid, ...unnamed } = run({})
  t.strictSame(jobIn(DEAD), { name: 'team/etl', is: 'here' })
  t.strictSame(jobIn(gone), { name: 'team/etl', is: 'gone' })
  t.strictSame(jobIn({}), { name: 'team/etl', is: 'not here' }, 'as Prefect names it')
  t.equal(jobIn({}, { run: unnamed }), undefined)
  t.match(scanInWords(scanOf(scannedIn(gone))), / team\/etl \(gone\) /)
  t.match(scanInWords(scanOf(scannedIn({}, { run: unnamed }))), / - +(job_deleted|unknown|-) /)
})

t.test('nothing is asked of anybody before it is clear who says yes', async t => {
  const foundation = createFoundation(readConfig({ PREFECT_API_URL: 'http://127.0.0.1:1/api' }), {
    to: 'stderr',
  })
  t.teardown(foundation.close)
  const cases: Readonly<Record<string, { options: ScanOptions; isTerminal: boolean; says: RegExp }>> = {
    'no terminal': { options: { fix: true }, isTerminal: false, says: /add --yes/ },
    'a program reads': { options: { fix: true, json: true }, isTerminal: true, says: /add --yes/ },
    'yes to what?': { options: { yes: true }, isTerminal: true, says: /--yes is an answer to --fix/ },
  }
  for (const [sentence, { options, isTerminal, says }] of Object.entries(cases)) {
    const conversation = {
      print: (text: string) => t.fail(text),
      isAgreed: isTerminal ? async () => true : undefined,
    }
    await t.rejects(
      scanAndFix(foundation, { options, conversation }, AbortSignal.timeout(5000)),
      { name: 'ArgumentError', message: says },
      sentence,
    )
  }
})
