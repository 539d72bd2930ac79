import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Result } from './main-job.ts'
import { complaintsAbout, keyOf, MARKS, withRows } from './table.ts'
import type { Row } from './table.ts'
import { chosen, COMBINATIONS, requirementsOf, versionsOf } from './versions.ts'

t.test('one combination is chosen by its server, or by server and worker', async t => {
  t.same(chosen(['3.4']), [{ server: '3.4', client: '3.4' }])
  t.same(chosen(['3.9/3.0']), [{ server: '3.9', client: '3.0' }])
  t.same(chosen([]), COMBINATIONS)
  t.throws(() => chosen(['3.4', '2.20']), { message: /^no such combination: 2\.20; there are 3\.0, / })
})

t.test('every requirement of another Prefect is pinned, so that it installs the same tomorrow', async t => {
  for (const release of ['3.0', '3.4', '3.9'] as const) {
    const lines = (await readFile(requirementsOf(release), 'utf8')).trim().split('\n')
    t.same(
      lines.filter(line => !/^[\w.-]+==[\w.]+( ; .+)?$/.test(line)),
      [],
      release,
    )
  }
})

const right: Result = {
  isLabelled: true,
  child: 'Crashed',
  parent: 'Completed',
  diagnosis: 'oom_killed',
  endedBy: 'prefect-lifeguard',
  retried: 'Completed in attempt 2',
  complaints: [],
}

const versions = { prefect: '3.4.25', prefectKubernetes: '0.7.1' }
const older = { prefect: '3.0.11', prefectKubernetes: '0.5.2' }
const rowOf = (result: Partial<Result>, day = '2026-01-01'): Row => ({
  combination: { server: '3.4', client: '3.4' },
  server: versions,
  client: versions,
  result: { ...right, ...result },
  day,
})
const olderRow: Row = { ...rowOf({ endedBy: 'worker' }), server: older, client: older }

t.test('a document keeps the rows that are still wanted, and gets the new ones, all in order', async t => {
  const empty = `before\n${MARKS.begin}\nold\n${MARKS.end}\nafter\n`
  const wanted = [olderRow, rowOf({})]
  const first = withRows(empty, [rowOf({})], wanted)
  const LINE = '| 3.4.25 | 3.4.25 | 0.7.1 | yes | Crashed | Completed | `oom_killed` | prefect-lifeguard |'
  t.match(first, `${LINE} Completed in attempt 2 | 2026-01-01 |`)
  t.match(first, /^before\n[^]*after\n$/)
  t.notMatch(first, 'old\n')
  const both = withRows(first, [olderRow], wanted)
  t.match(both, /3\.0\.11 [^]*3\.4\.25 /, 'in the order of what is wanted')
  t.match(withRows(both, [rowOf({}, '2026-02-02')], wanted), /3\.0\.11 [^]*2026-02-02 \|\n\n/)
  t.notMatch(withRows(both, [], [rowOf({})]), '3.0.11', 'nobody wants it any more')
  t.throws(() => withRows('no place', [], wanted), { message: /there is no/ })
})

const wrong: Readonly<Record<string, readonly [Partial<Result>, string]>> = {
  'a Job without its label': [{ isLabelled: false }, '3.4: the Job has no label'],
  'a run that is something else': [{ child: 'Failed' }, '3.4: the killed run is Failed'],
  'a parent that did not go on': [{ parent: 'Running' }, '3.4: its parent is Running'],
  'another diagnosis': [{ diagnosis: 'unknown' }, '3.4: the diagnosis is unknown'],
  'a retry that was not honoured': [
    { retried: 'Crashed in attempt 1' },
    '3.4: the run with a retry is Crashed in attempt 1',
  ],
  'an error in our log': [{ complaints: ['a', 'b'] }, '3.4: our log says: a; b'],
}

t.test('nothing is said about what is right', async t => t.same(complaintsAbout(rowOf({})), []))
for (const [sentence, [result, complaint]] of Object.entries(wrong))
  t.test(`${sentence} is complained about`, async t => t.same(complaintsAbout(rowOf(result)), [complaint]))

t.test(
  'docs/compatibility.md is of the versions that are pinned now; else: npm run matrix -- --write',
  async t => {
    const document = await readFile(join(import.meta.dirname, '../../docs/compatibility.md'), 'utf8')
    const pinned = await Promise.all(
      COMBINATIONS.map(async ({ server, client }) =>
        keyOf({ server: await versionsOf(server), client: await versionsOf(client) }),
      ),
    )
    t.same(
      pinned.filter(line => !document.includes(line)),
      [],
    )
  },
)
