import { setImmediate } from 'node:timers/promises'
import t from 'tap'

import { parseMeta } from '../../src/kubernetes/parse/metadata.ts'
import { closing, hanging, json, playing, resetting, startHarness, versionAsked } from './harness.ts'
import { bookmark, jobJson, listJson, watchLine } from './objects.ts'
import { statusBody } from './peer.ts'

const forAWhile = AbortSignal.timeout(60_000)
const etl = (version: string, more: object = {}): object => jobJson({ version, ...more })
const expired = statusBody(410, 'Expired')
const odd = (version: string): object =>
  jobJson({ name: 'odd', version, metadata: { creationTimestamp: 'soon' } })

t.test('1: a list comes in pages, and counts when it is complete', async t => {
  await using harness = await startHarness({
    lists: [
      json(listJson([jobJson({ name: 'a' }), jobJson({ name: 'b' })], '10', 'second')),
      json(listJson([jobJson({ name: 'c' })], '10', 'third')),
      exchange => {
        t.notOk(harness.reflector.hasSynced(), 'not synced before the last page')
        t.strictSame(harness.changes, [], 'and nothing delivered')
        return json(listJson([], '10'))(exchange)
      },
    ],
    watches: [hanging()],
  })
  harness.reflector.start()
  await harness.reflector.whenSynced(forAWhile)
  t.strictSame(harness.changes, ['added a 1', 'added b 1', 'added c 1'])
  const pages = harness.lists().map(({ url }) => Object.fromEntries(url.searchParams))
  const first = { labelSelector: 'prefect.io/parent-task-run-id', limit: '100' }
  t.strictSame(pages, [first, { ...first, continue: 'second' }, { ...first, continue: 'third' }])
})

t.test('1: objects are kept as parsed, the rest of them is not', async t => {
  const large = jobJson({ metadata: { managedFields: [{ manager: 'kubectl' }] } })
  await using harness = await startHarness({ lists: [json(listJson([large], '10'))], watches: [hanging()] })
  harness.reflector.start()
  await harness.reflector.whenSynced(forAWhile)
  t.notMatch(JSON.stringify([...harness.reflector.list()]), /kubectl/)
})

t.test('1: a list whose continuation has expired begins anew', async t => {
  await using harness = await startHarness({
    lists: [
      json(listJson([jobJson({ name: 'a' })], '10', 'second')),
      json(expired, 410),
      json(listJson([jobJson({ name: 'b' })], '20')),
    ],
    watches: [hanging()],
  })
  harness.reflector.start()
  await harness.reflector.whenSynced(forAWhile)
  t.strictSame(harness.changes, ['added b 1'], 'nothing of the list that was not completed')
  t.equal(harness.lists()[2]?.url.searchParams.get('continue'), null)
})

t.test('2: a watch goes on from the list, narrowed by the server, with bookmarks and an end', async t => {
  await using harness = await startHarness({ lists: [json(listJson([], '10'))], watches: [hanging()] })
  harness.reflector.start()
  await harness.until('the watch', () => harness.watches().length === 1)
  const { timeoutSeconds, ...query } = Object.fromEntries(harness.watches()[0]?.url.searchParams ?? [])
  t.strictSame(query, {
    labelSelector: 'prefect.io/parent-task-run-id',
    watch: 'true',
    allowWatchBookmarks: 'true',
    resourceVersion: '10',
  })
  t.equal(timeoutSeconds, '450', 'half way from 300 to 600, as the clock’s chance is a half')
})

t.test('3 and 4: after an orderly end the watch goes on where events or bookmarks have got to', async t => {
  await using harness = await startHarness({
    lists: [json(listJson([], '10'))],
    watches: [
      closing(watchLine('ADDED', etl('11')), watchLine('MODIFIED', etl('12'))),
      closing(bookmark('15')),
      closing(watchLine('MODIFIED', etl('16')), bookmark('17')),
      hanging(),
    ],
  })
  harness.reflector.start()
  await harness.until('the fourth watch', () => harness.watches().length === 4)
  t.strictSame(harness.watches().map(versionAsked), ['10', '12', '15', '17'])
  t.equal(harness.lists().length, 1, 'no new list')
  t.strictSame(harness.clock.waits, [], 'no wait')
  t.strictSame(harness.changes, ['added etl 11', 'modified etl 12', 'modified etl 16'])
})

t.test('4: a watch that ends at once and brings nothing is tried again ever more slowly', async t => {
  await using harness = await startHarness({
    lists: [json(listJson([], '10'))],
    watches: [closing(), closing(), closing(), hanging()],
  })
  harness.reflector.start()
  await harness.until('the fourth watch', () => harness.watches().length === 4)
  t.strictSame(harness.clock.waits, [400, 800, 1600])
  t.equal(harness.lists().length, 1)
})

for (const [shape, forgotten] of Object.entries({
  'as the answer to the watch': json(expired, 410),
  'as an event of the watch': hanging(watchLine('ERROR', expired)),
})) {
  t.test(`5: a 410 ${shape} is a new list, and its difference is told`, async t => {
    const before = [
      jobJson({ name: 'stays', version: '1' }),
      jobJson({ name: 'goes', version: '2' }),
      jobJson({ name: 'comes-back', uid: 'first', version: '3' }),
    ]
    const after = [
      jobJson({ name: 'stays', version: '1' }),
      jobJson({ name: 'comes', version: '31' }),
      jobJson({ name: 'comes-back', uid: 'second', version: '32' }),
    ]
    await using harness = await startHarness({
      lists: [json(listJson(before, '10')), json(listJson(after, '40'))],
      watches: [forgotten, hanging()],
    })
    harness.reflector.start()
    await harness.until('the second watch', () => harness.watches().length === 2)
    t.strictSame(harness.changes.slice(3), [
      'added comes 31',
      'added comes-back 32',
      'deleted goes 2 unseen',
      'deleted comes-back 3 unseen',
    ])
    t.strictSame(harness.watches().map(versionAsked), ['10', '40'])
  })
}

t.test('5: a server that forgets what it has just listed is not asked in a tight circle', async t => {
  await using harness = await startHarness({
    lists: [json(listJson([], '10'))],
    watches: [json(expired, 410), json(expired, 410), json(expired, 410), hanging()],
  })
  harness.reflector.start()
  await harness.until('the fourth watch', () => harness.watches().length === 4)
  t.strictSame(harness.clock.waits, [400, 800, 1600])
})

t.test('6: a server that is behind is waited for, and believed after three times', async t => {
  const tooLarge = statusBody(504, 'Timeout', {
    details: { causes: [{ reason: 'ResourceVersionTooLarge' }], retryAfterSeconds: 1 },
  })
  await using harness = await startHarness({
    lists: [json(listJson([], '90')), json(listJson([], '20'))],
    watches: [json(tooLarge, 504), json(tooLarge, 504), json(tooLarge, 504), json(tooLarge, 504), hanging()],
  })
  harness.reflector.start()
  await harness.until('the fifth watch', () => harness.watches().length === 5)
  t.strictSame(harness.watches().map(versionAsked), ['90', '90', '90', '90', '20'])
  t.strictSame(harness.lists().map(versionAsked), [null, null], 'a list asks for no version')
  t.strictSame(harness.clock.waits, [1400, 1800, 2600, 4200], 'and the server’s second is honoured')
})

const passing: Record<string, { first: ReturnType<typeof json>; waits: readonly number[] }> = {
  'a 500': { first: json(statusBody(500, 'InternalError'), 500), waits: [400] },
  'a 503 without a body': { first: json('', 503), waits: [400] },
  'a 429 that names a time': {
    first: json(statusBody(429, 'TooManyRequests'), 429, { 'retry-after': '7' }),
    waits: [7400],
  },
  'a reset in the middle of a line': {
    first: resetting(watchLine('ADDED', etl('11')), '{"type":"MODI'),
    waits: [400],
  },
  'a 500 as an event': { first: hanging(watchLine('ERROR', statusBody(500, 'InternalError'))), waits: [400] },
}

for (const [what, { first, waits }] of Object.entries(passing)) {
  t.test(`7: ${what} is waited out, and the watch goes on where it was`, async t => {
    await using harness = await startHarness({
      lists: [json(listJson([], '10'))],
      watches: [first, hanging()],
    })
    harness.reflector.start()
    await harness.until('the second watch', () => harness.watches().length === 2)
    t.strictSame(harness.clock.waits, waits)
    t.equal(harness.lists().length, 1)
    t.equal(versionAsked(harness.watches()[1]), what.includes('reset') ? '11' : '10')
  })
}

t.test('7: a list that fails is tried for ever, ever more slowly up to half a minute', async t => {
  const down = json(statusBody(503, 'ServiceUnavailable'), 503)
  await using harness = await startHarness({
    lists: [...Array.from({ length: 8 }, () => down), json(listJson([], '10'))],
    watches: [hanging()],
  })
  harness.reflector.start()
  await harness.reflector.whenSynced(forAWhile)
  t.strictSame(harness.clock.waits, [400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000])
})

t.test('7: a server that is not there is tried again', async t => {
  await using harness = await startHarness(({ index, ...exchange }) => {
    if (index === 0) exchange.socket.resetAndDestroy()
    else return playing({ lists: [json(listJson([], '10'))], watches: [hanging()] })({ index, ...exchange })
  })
  harness.reflector.start()
  await harness.reflector.whenSynced(forAWhile)
  t.match(harness.reports, [/watching .*jobs failed \(network\)/])
})

t.test('8: what is forbidden is asked again slowly, and is a reason not to be ready', async t => {
  const allowed = Promise.withResolvers<void>()
  await using harness = await startHarness({
    lists: [
      json(statusBody(403, 'Forbidden'), 403),
      async exchange => {
        await allowed.promise
        await json(listJson([], '10'))(exchange)
      },
    ],
    watches: [hanging()],
  })
  harness.reflector.start()
  await harness.until('the first refusal', () => harness.reflector.status().outage !== undefined)
  t.match(harness.reflector.status(), {
    synced: false,
    outage: { status: 403, message: /403 Forbidden: the peer says Forbidden/ },
  })
  allowed.resolve()
  await harness.until('the watch', () => harness.reflector.status().state === 'watching')
  t.equal(harness.reflector.status().outage, undefined)
  t.ok(
    harness.clock.waits.every(wait => wait >= 15_000),
    String(harness.clock.waits),
  )
})

t.test('9: a watch that falls silent is broken off and goes on where it was', async t => {
  await using harness = await startHarness(
    { lists: [json(listJson([], '10'))], watches: [hanging(bookmark('12')), hanging()] },
    { limits: { silenceMs: 100 } },
  )
  harness.reflector.start()
  await harness.until('the second watch', () => harness.watches().length >= 2)
  t.equal(versionAsked(harness.watches()[1]), '12')
  t.equal(harness.lists().length, 1)
  t.match(harness.reports[0], /\(silence\).*nothing came within 100 ms/)
})

t.test('9: one that is silent from its start, twice, is deaf: the server may have been restored', async t => {
  await using harness = await startHarness(
    {
      lists: [json(listJson([], '90')), json(listJson([], '20'))],
      watches: [hanging(), hanging(), hanging()],
    },
    { limits: { silenceMs: 100 } },
  )
  harness.reflector.start()
  await harness.until('the third watch', () => harness.watches().length >= 3)
  t.strictSame(harness.watches().slice(0, 3).map(versionAsked), ['90', '90', '20'])
})

t.test('10: a line may come in pieces, cut within a character; half a line at the end is none', async t => {
  const line = Buffer.from(watchLine('ADDED', jobJson({ name: 'zürich', version: '11' })))
  const cut = line.indexOf('ü') + 1
  await using harness = await startHarness({
    lists: [json(listJson([], '10'))],
    watches: [
      async ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' })
        for (const part of [line.subarray(0, cut), line.subarray(cut), '{"type":"DELETED","obj']) {
          await new Promise(written => response.write(part, written))
          await setImmediate()
        }
        response.end()
      },
      hanging(),
    ],
  })
  harness.reflector.start()
  await harness.until('the second watch', () => harness.watches().length === 2)
  t.strictSame(harness.changes, ['added zürich 11'])
  t.equal(versionAsked(harness.watches()[1]), '11')
})

for (const [what, step] of Object.entries({
  'a line longer than any': hanging('x'.repeat(2000)),
  'what is no JSON': hanging('<html>\n'),
  'bytes that are no text': hanging(Uint8Array.of(0xff, 0x0a)),
  'an event of an unknown type': hanging(watchLine('EXPLODED', etl('11'))),
  'an event without a version': hanging(watchLine('ADDED', {})),
})) {
  t.test(`10: ${what} is no watch: all is listed anew`, async t => {
    await using harness = await startHarness(
      { lists: [json(listJson([], '10')), json(listJson([etl('12')], '20'))], watches: [step, hanging()] },
      { limits: { maxLineBytes: 1000 } },
    )
    harness.reflector.start()
    await harness.until('the second watch', () => harness.watches().length === 2)
    t.strictSame(harness.watches().map(versionAsked), ['10', '20'])
    t.strictSame(harness.changes, ['added etl 12'])
  })
}

t.test(
  '10: a single object that makes no sense is told and left out; the others, and what was known of it, stay',
  async t => {
    await using harness = await startHarness(
      {
        lists: [
          json(listJson([jobJson({ name: 'odd' }), jobJson({ name: 'even' })], '10')),
          json(
            listJson(
              [
                jobJson({ name: 'odd', version: '13', labels: { odd: 'yes' } }),
                jobJson({ name: 'even', version: '12' }),
              ],
              '20',
            ),
          ),
        ],
        watches: [
          hanging(
            watchLine('MODIFIED', odd('11')),
            watchLine('MODIFIED', jobJson({ name: 'even', version: '12' })),
            watchLine('ERROR', expired),
          ),
          hanging(watchLine('DELETED', jobJson({ name: 'odd', version: '21', labels: { odd: 'yes' } }))),
        ],
      },
      {
        parse: body => {
          const meta = parseMeta(body)
          if (meta.metadata.labels['odd']) throw new TypeError('odd')
          return meta
        },
      },
    )
    harness.reflector.start()
    await harness.until('the last change', () => harness.changes.some(change => change.startsWith('deleted')))
    t.strictSame(harness.changes, [
      'added odd 1',
      'added even 1',
      'modified even 12',
      'deleted odd 1 perhaps unlabelled',
    ])
    t.equal(harness.reports.filter(report => report.startsWith('an object could not be read')).length, 3)
  },
)

t.test('11: a handler that throws is told so, and nothing else happens', async t => {
  await using harness = await startHarness(
    {
      lists: [json(listJson([jobJson({ name: 'a' })], '10'))],
      watches: [hanging(watchLine('ADDED', jobJson({ name: 'b', version: '11' })))],
    },
    {
      onChange: () => {
        throw new Error('handlers must not')
      },
    },
  )
  harness.reflector.start()
  await harness.until('both changes', () => harness.changes.length === 2)
  t.match(harness.reports, [
    /the handler of added team\/a threw; it must only enqueue: Error: handlers must not/,
    /team\/b threw/,
  ])
  t.equal(harness.watches().length, 1, 'the stream goes on')
  t.equal(harness.reflector.get('uid-of-b')?.metadata.name, 'b')
})

t.test('13: a deletion without a deletionTimestamp may be a lost label', async t => {
  const timestamp = { metadata: { deletionTimestamp: '2026-01-02T03:04:05Z' } }
  await using harness = await startHarness({
    lists: [json(listJson([jobJson({ name: 'a' }), jobJson({ name: 'b' })], '10'))],
    watches: [
      hanging(
        watchLine('DELETED', jobJson({ name: 'a', version: '11' })),
        watchLine('DELETED', jobJson({ name: 'b', version: '12', ...timestamp })),
      ),
    ],
  })
  harness.reflector.start()
  await harness.until('both deletions', () => harness.changes.length === 4)
  t.strictSame(harness.changes.slice(2), ['deleted a 11 perhaps unlabelled', 'deleted b 12'])
})

t.test('15: synced is what a complete list makes it, and whoever waits is told', async t => {
  const held = Promise.withResolvers<void>()
  await using harness = await startHarness({
    lists: [
      async exchange => {
        await held.promise
        await json(listJson([], '10'))(exchange)
      },
    ],
    watches: [hanging()],
  })
  const { reflector } = harness
  t.strictSame(reflector.status(), { resource: 'jobs', state: 'idle', synced: false, objects: 0 })
  reflector.start()
  const impatient = new AbortController()
  const waiting = reflector.whenSynced(impatient.signal)
  impatient.abort(new Error('enough'))
  await t.rejects(waiting, { message: 'enough' })
  await t.rejects(reflector.whenSynced(impatient.signal), { message: 'enough' })
  t.notOk(reflector.hasSynced())
  held.resolve()
  await reflector.whenSynced(forAWhile)
  await reflector.whenSynced(forAWhile)
  t.ok(reflector.hasSynced())
})

t.test('18: liveness is the age of the last sign of the server, of whatever kind', async t => {
  await using harness = await startHarness({
    lists: [json(listJson([], '10'))],
    watches: [hanging(), hanging(watchLine('ADDED', etl('11')), bookmark('12'))],
  })
  const { reflector, clock } = harness
  reflector.start()
  await harness.until('the watch', () => reflector.status().state === 'watching')
  const before = reflector.status()
  t.ok(
    (before.lastProgressAt ?? 0) >= (before.lastListAt ?? Infinity),
    'an accepted watch is a sign, after the list',
  )
  t.equal(before.lastEventAt, undefined)
  clock.pass(60_000)
  harness.peer.requests.at(-1)?.response.write(bookmark('11'))
  await harness.until('the bookmark', () => reflector.status().lastBookmarkAt !== undefined)
  const after = reflector.status()
  t.equal(after.lastProgressAt, after.lastBookmarkAt)
  t.ok((after.lastProgressAt ?? 0) - (before.lastProgressAt ?? 0) >= 60_000)
  t.equal(after.lastListAt, before.lastListAt)
})

t.test('objects are found by UID and by key', async t => {
  const one = jobJson({ name: 'a', labels: { run: 'x' } })
  await using harness = await startHarness({
    lists: [json(listJson([one, jobJson({ name: 'b' })], '10'))],
    watches: [hanging()],
  })
  harness.reflector.start()
  await harness.reflector.whenSynced(forAWhile)
  t.strictSame(harness.reflector.byIndex('x'), [parseMeta(one)])
  t.strictSame(harness.reflector.get('uid-of-b')?.metadata.name, 'b')
  t.equal([...harness.reflector.list()].length, 2)
})
