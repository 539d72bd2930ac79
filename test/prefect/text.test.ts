import t from 'tap'

import { storable } from '../../src/prefect/text.ts'

const cases: Readonly<Record<string, readonly [string, string]>> = {
  'ordinary text': ['ä\n😀', 'ä\n😀'],
  'NUL, which Postgres refuses': ['a\0b\0', 'ab'],
  'half a surrogate pair, which Python cannot encode': ['a\ud83d', 'a\ufffd'],
}

for (const [sentence, [text, expected]] of Object.entries(cases)) {
  t.test(sentence, async t => {
    t.equal(storable(text), expected)
  })
}

t.test('text that is too long is cut and says so, and no pair is torn apart', async t => {
  for (const text of ['x'.repeat(25_001), `${'x'.repeat(24_969)}${'😀'.repeat(100)}`, '😀'.repeat(20_000)]) {
    const cut = storable(text)
    t.equal(cut.length, 25_000)
    t.ok(cut.isWellFormed())
    t.match(cut, new RegExp(`… \\(cut from ${text.length} characters\\)$`))
  }
  t.equal(storable('x'.repeat(25_000)).length, 25_000)
})
