import t from 'tap'
import { diagnose, stuckStart } from '../../src/core/diagnosis/diagnose.ts'
import type { Recorded } from '../fixtures/recorded.ts'
import { evidenceAfter, readExpectations, readRecording, recordingNames } from '../fixtures/recorded.ts'

/** The evidence after each watch event of a recording, as an observer sees it grow. */
const everyStep = (watch: readonly Recorded[]) =>
  watch.map((_, index) => evidenceAfter(watch.slice(0, index + 1)))

t.test('the README states what is right for every recording', async t => {
  const names = (await readExpectations()).map(({ name }) => name)
  t.strictSame(names, await recordingNames())
})

t.test('each recorded death is explained as the README states', async t => {
  for (const { name, diagnosis } of await readExpectations()) {
    if (diagnosis === undefined) continue
    const { watch } = await readRecording(name)
    t.equal(diagnose(evidenceAfter(watch)).diagnosis.code, diagnosis, name)
  }
})

t.test('a recorded Job that cannot start is reported as the README states, and no other ever is', async t => {
  for (const { name, stuckStart: expected } of await readExpectations()) {
    const { watch } = await readRecording(name)
    const codes = everyStep(watch).flatMap(evidence => stuckStart(evidence)?.diagnosis.code ?? [])
    t.strictSame([...new Set(codes)], expected === undefined ? [] : [expected], name)
  }
})

t.test(
  'a grace counts from the moment a recorded pod got stuck, however often kubelet tries again',
  async t => {
    for (const { name, stuckStart: expected } of await readExpectations()) {
      if (expected === undefined) continue
      const { watch } = await readRecording(name)
      const begins = everyStep(watch).flatMap(evidence => stuckStart(evidence)?.since ?? [])
      const created = evidenceAfter(watch).job?.metadata.creationTimestamp ?? 0
      t.equal(new Set(begins).size, 1, `${name}: one moment`)
      t.ok(
        begins.every(since => since >= created && since <= created + 60_000),
        `${name}: in its first minute`,
      )
    }
  },
)

t.test('memory is named as the cause only where the runtime said so', async t => {
  for (const name of await recordingNames()) {
    const { watch } = await readRecording(name)
    const codes = everyStep(watch).map(evidence => diagnose(evidence).diagnosis.code)
    t.equal(codes.includes('oom_killed'), name === 'a_oom_container', name)
  }
})

t.test('the pods of an evicted Job explain it, though a second Job completed the run', async t => {
  const { watch } = await readRecording('r_evicted_resched')
  const [first] = watch.flatMap(event => (event.kind === 'Job' ? event.object.metadata.uid : []))
  const jobs = watch.flatMap(event =>
    event.kind === 'Job' && event.object.metadata.uid === first ? event.object : [],
  )
  const older = jobs.at(-1)
  t.ok(older)
  const found = diagnose({ ...evidenceAfter(watch), ...(older && { job: older }) })
  t.match(found, { rule: 'PodDisrupted', diagnosis: { code: 'evicted', detail: 'Eviction API: evicting' } })
})

t.test('a policy names the pod it saw', async t => {
  const { watch } = await readRecording('e_pod_failure_policy')
  const { diagnosis } = diagnose(evidenceAfter(watch))
  t.match(diagnosis, {
    cause: 'oom_suspected',
    exitCode: 137,
    signal: 'SIGKILL',
    detail: 'FailJob rule at index 0',
  })
})
