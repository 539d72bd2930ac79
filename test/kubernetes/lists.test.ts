import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { Job } from '../../src/core/objects.ts'
import { FLOW_RUN_ID_LABEL } from '../../src/core/names.ts'
import { createLists } from '../../src/kubernetes/lists.ts'
import { parseJob } from '../../src/kubernetes/parse/job.ts'
import type { ApiRequest } from '../../src/kubernetes/http/request.ts'
import { jobJson, listJson } from './objects.ts'

const { signal } = new AbortController()

const runs = (count: number): string[] =>
  Array.from({ length: count }, (_, n) => `0190a000-0000-7000-8000-${String(n).padStart(12, '0')}`)

const [A = '', B = '', C = ''] = runs(3)

const jobOf = (flowRunId: string, name = 'etl'): object =>
  jobJson({ name, labels: { [FLOW_RUN_ID_LABEL]: flowRunId } })

interface Answers {
  /** What a path has, whoever is asked for. */
  readonly holds?: Readonly<Record<string, readonly object[]>>
  readonly paths?: readonly string[]
  /** A request is answered when this has come. */
  readonly gate?: Promise<void>
  readonly down?: boolean
}

/** Prepared answers: which requests are made is what is tested here, and what becomes of odd answers. A real API server is asked in test/integration/kubernetes-api.test.ts. */
function start({ holds = {}, paths = ['/jobs'], gate, down = false }: Answers = {}) {
  const asked: { readonly path: string; readonly runs: readonly string[] }[] = []
  const request = async <T>({ path, query, parse }: ApiRequest<T>): Promise<T> => {
    asked.push({ path, runs: String(query?.['labelSelector']).match(/[0-9a-f-]{36}/g) ?? [] })
    await (gate ?? turn())
    if (down) throw new Error('503')
    return parse(listJson(holds[path] ?? [], '7'))
  }
  const list = createLists<Job>({ access: { request }, paths, parse: parseJob })
  const namesOf = async (flowRunId: string, by = signal): Promise<string[]> =>
    (await list(flowRunId, by)).map(({ metadata }) => metadata.name)
  return { namesOf, asked }
}

t.test('runs asked for at once share a list, and each gets what is its own', async t => {
  const { namesOf, asked } = start({ holds: { '/jobs': [jobOf(B, 'b'), jobOf(A, 'a1'), jobOf(A, 'a2')] } })
  t.strictSame(await Promise.all([A, B, C, A].map(id => namesOf(id))), [
    ['a1', 'a2'],
    ['b'],
    [],
    ['a1', 'a2'],
  ])
  t.strictSame(asked, [{ path: '/jobs', runs: [A, B, C] }])
})

t.test('fifty runs share a list at most', async t => {
  const { namesOf, asked } = start()
  await Promise.all(runs(120).map(id => namesOf(id)))
  t.strictSame(
    asked.map(({ runs }) => runs.length),
    [50, 50, 20],
  )
})

t.test('each namespace is looked through, once for all runs', async t => {
  const { namesOf, asked } = start({
    paths: ['/x/jobs', '/y/jobs'],
    holds: { '/x/jobs': [jobOf(A, 'x')], '/y/jobs': [jobOf(A, 'y'), jobOf(B, 'b')] },
  })
  t.strictSame(await Promise.all([A, B].map(id => namesOf(id))), [['x', 'y'], ['b']])
  t.strictSame(
    asked.map(({ path }) => path),
    ['/x/jobs', '/y/jobs'],
  )
})

t.test(
  'nothing is kept: who asks later, or while a list is under way, is answered by another one',
  async t => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    const { namesOf, asked } = start({ gate })
    const first = namesOf(A)
    while (asked.length === 0) await turn()
    const later = [namesOf(A), namesOf(B)]
    // Two who came elsewhere after them have waited long enough for company; so have these.
    const elsewhere = start()
    await Promise.all([elsewhere.namesOf(A), elsewhere.namesOf(B)])
    t.equal(asked.length, 1, 'one at a time')
    open()
    await Promise.all([first, ...later])
    await namesOf(B)
    t.strictSame(
      asked.map(({ runs }) => runs),
      [[A], [A, B], [B]],
    )
  },
)

t.test('what cannot be read of one run is no trouble for the others', async t => {
  const odd = jobJson({ labels: { [FLOW_RUN_ID_LABEL]: B }, status: { active: 'many' } })
  const { namesOf } = start({ holds: { '/jobs': [jobOf(A), odd] } })
  const [a, b] = await Promise.allSettled([namesOf(A), namesOf(B)])
  t.match(a, { value: ['etl'] })
  t.match(b, { reason: { name: 'TypeError', message: /^Job team\/etl: status.active/ } })
})

t.test('an answer to another question is none', async t => {
  const sentences: Readonly<Record<string, { answer: unknown; found: RegExp }>> = {
    'a run that nobody asked for': { answer: jobOf(C), found: new RegExp(`answered with ${C}$`) },
    'an object without labels': { answer: jobJson(), found: /answered with an object without labels$/ },
    'no object at all': { answer: 'Job', found: /answered with an object without labels$/ },
  }
  for (const [what, { answer, found }] of Object.entries(sentences)) {
    const { namesOf } = start({ holds: { '/jobs': [jobOf(A), answer as object] } })
    const results = await Promise.allSettled([namesOf(A), namesOf(B)])
    for (const result of results) t.match(result, { reason: { name: 'TypeError', message: found } }, what)
  }
})

t.test('a list that fails has failed for all who asked, and is asked for once', async t => {
  const { namesOf, asked } = start({ down: true })
  const results = await Promise.allSettled(runs(9).map(id => namesOf(id)))
  t.ok(results.every(({ status }) => status === 'rejected'))
  t.equal(asked.length, 1)
})

t.test('whoever gives up is let go at once, and the others get their answer', async t => {
  const { promise: gate, resolve: open } = Promise.withResolvers<void>()
  const { namesOf } = start({ gate, holds: { '/jobs': [jobOf(B, 'b')] } })
  const impatient = new AbortController()
  const given = namesOf(A, impatient.signal)
  const other = namesOf(B)
  impatient.abort(new Error('no longer leading'))
  await t.rejects(given, { message: 'no longer leading' })
  open()
  t.strictSame(await other, ['b'])
})

t.test('what is no UUID is refused before anybody is asked: it would change the question', async t => {
  const { namesOf, asked } = start()
  await t.rejects(namesOf(`${A}),x notin (y`), { name: 'TypeError', message: /not the id of a flow run/ })
  t.strictSame(asked, [])
})
