import { constants, platform } from 'node:os'
import t from 'tap'
import { CATALOGUE, DIAGNOSIS_CODES, isStuckStartCode } from '../../src/core/diagnosis/codes.ts'
import { createDiagnosis, diagnosisText } from '../../src/core/diagnosis/diagnosis.ts'
import { signalOf } from '../../src/core/diagnosis/signals.ts'

t.test('a diagnosis is one line that tells code, what happened, and what helps', t => {
  const diagnosis = createDiagnosis(
    'init_container_failed',
    { namespace: 'team', pod: 'etl-x', node: 'node-1', container: 'fetch' },
    {
      summary: "Init container 'fetch' exited with code 7.",
      detail: 'no such\tbucket\u001B[31m\n',
      end: { exitCode: 7 },
    },
  )
  t.equal(
    diagnosisText(diagnosis),
    "[init_container_failed] Init container 'fetch' exited with code 7. no such bucket [31m. Resolution: The flow never" +
      ' started. Read `kubectl logs etl-x -c fetch -n team` while the pod exists. Correct initContainers in the base' +
      ' job template.',
  )
  t.end()
})

t.test('without the platform’s own words there is no detail', t => {
  for (const detail of [undefined, '', ' \n ']) {
    const diagnosis = createDiagnosis('invalid_image', {}, { summary: 'No image.', detail })
    t.notOk('detail' in diagnosis)
    t.match(diagnosisText(diagnosis), /^\[invalid_image\] No image\. Resolution: Correct/)
  }
  t.end()
})

t.test('a full stop is added to the platform’s own words where it lacks', t => {
  for (const [detail, said] of Object.entries({
    'It is low.': 'It is low.',
    'It is low': 'It is low.',
    'low…': 'low…',
  })) {
    const diagnosis = createDiagnosis('evicted', {}, { summary: 'Evicted.', detail })
    t.match(diagnosisText(diagnosis), `[evicted] Evicted. ${said} Resolution: `)
  }
  t.end()
})

t.test('the platform’s own words are bounded', t => {
  const { detail = '' } = createDiagnosis('unknown', {}, { summary: '', detail: 'x'.repeat(501) })
  t.equal(detail.length, 500)
  t.ok(detail.endsWith('x…'))
  t.equal(createDiagnosis('unknown', {}, { summary: '', detail: 'x'.repeat(500) }).detail, 'x'.repeat(500))
  t.end()
})

t.test('names are filled into a resolution as they are, and what is not known stays open', t => {
  const { resolution } = createDiagnosis('unknown', { namespace: '$&' }, { summary: '' })
  t.match(resolution, '`kubectl describe job <job> -n $&`')
  t.end()
})

t.test('codes are stable: whoever renames one breaks somebody’s automation', t => {
  t.strictSame(DIAGNOSIS_CODES, [
    'oom_killed',
    'oom_suspected',
    'evicted',
    'preempted',
    'node_lost',
    'image_pull_backoff',
    'invalid_image',
    'crash_loop_backoff',
    'unschedulable',
    'container_config_error',
    'container_start_error',
    'volume_mount_error',
    'pod_creation_failed',
    'init_container_failed',
    'deadline_exceeded',
    'pod_failure_policy',
    'backoff_limit_exceeded',
    'job_deleted',
    'pod_deleted',
    'exited_without_reporting',
    'error_exit',
    'unknown',
  ])
  t.strictSame(DIAGNOSIS_CODES.filter(isStuckStartCode), [
    'image_pull_backoff',
    'invalid_image',
    'crash_loop_backoff',
    'unschedulable',
    'container_config_error',
    'container_start_error',
    'volume_mount_error',
    'pod_creation_failed',
  ])
  t.end()
})

t.test('categories are those of prefect-kubernetes, letter by letter', t => {
  const categories = DIAGNOSIS_CODES.flatMap(code => CATALOGUE[code].category ?? [])
  t.strictSame(categories, ['OOMKilled', 'Evicted', 'ImagePullError', 'CrashLoopBackOff', 'Unschedulable'])
  t.end()
})

t.test('every resolution is a sentence that names something to change or to look at', t => {
  for (const code of DIAGNOSIS_CODES) {
    t.match(CATALOGUE[code].resolution, /^[A-Z`].+\.$/s, code)
    t.match(CATALOGUE[code].resolution, /kubectl|`|base job template/, code)
  }
  t.end()
})

t.test('signals', t => {
  const expected: readonly (readonly [number, string | undefined])[] = [
    [0, undefined],
    [1, undefined],
    [9, undefined],
    [128, undefined],
    [129, 'SIGHUP'],
    [130, 'SIGINT'],
    [134, 'SIGABRT'],
    [135, 'SIGBUS'],
    [137, 'SIGKILL'],
    [139, 'SIGSEGV'],
    [143, 'SIGTERM'],
    [145, undefined],
    [255, undefined],
  ]
  for (const [exitCode, signal] of expected) t.equal(signalOf({ exitCode }), signal, `exit code ${exitCode}`)
  t.equal(signalOf({ exitCode: 0, signal: 15 }), 'SIGTERM')
  t.end()
})

/** Signals that by default do not end a process: ignored, stopped, continued. Source: signal(7). */
const HARMLESS: ReadonlySet<string> = new Set([
  'SIGCHLD',
  'SIGCONT',
  'SIGSTOP',
  'SIGTSTP',
  'SIGTTIN',
  'SIGTTOU',
  'SIGURG',
  'SIGWINCH',
])

t.test(
  'every signal that ends a process has its name',
  { skip: platform() !== 'linux' && 'containers are Linux' },
  t => {
    for (const [name, signal] of Object.entries(constants.signals)) {
      const found = signalOf({ exitCode: 1, signal })
      if (HARMLESS.has(name)) t.equal(found, undefined, name)
      else t.equal(constants.signals[found as NodeJS.Signals], signal, name)
    }
    t.end()
  },
)
