import { array, assert, asyncProperty, nat, string } from 'fast-check'
import t from 'tap'

import { linesOf } from '../../src/kubernetes/watch/lines.ts'
import { collected } from './objects.ts'

const MOST = 64

async function* chunks(...parts: readonly (string | Uint8Array)[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield typeof part === 'string' ? Buffer.from(part) : part
}

const read = (...parts: readonly (string | Uint8Array)[]): Promise<string[]> =>
  collected(linesOf(chunks(...parts), MOST))

const euro = Buffer.from('€')

const cases: Record<string, { parts: readonly (string | Uint8Array)[]; lines: readonly string[] }> = {
  'one line': { parts: ['a\n'], lines: ['a'] },
  'several lines in one chunk': { parts: ['a\nb\nc\n'], lines: ['a', 'b', 'c'] },
  'a line in several chunks': { parts: ['a', 'b', 'c\n'], lines: ['abc'] },
  'a newline at the start of a chunk': { parts: ['a', '\nb', '\n'], lines: ['a', 'b'] },
  'a character cut in three': {
    parts: [euro.subarray(0, 1), euro.subarray(1, 2), euro.subarray(2), '\n'],
    lines: ['€'],
  },
  'what follows the last newline was not finished': { parts: ['a\n{"type":"ADD'], lines: ['a'] },
  'empty chunks and empty lines': { parts: ['', '\n', '', 'a\n'], lines: ['', 'a'] },
  'a carriage return is not ours to remove': { parts: ['a\r\n'], lines: ['a\r'] },
  'the longest line there may be': { parts: ['x'.repeat(MOST), '\n'], lines: ['x'.repeat(MOST)] },
  'nothing at all': { parts: [], lines: [] },
}

for (const [name, { parts, lines }] of Object.entries(cases)) {
  t.test(name, async t => {
    t.strictSame(await read(...parts), lines)
  })
}

t.test('a line that is too long ends the stream, whether its end is in sight or not', async t => {
  await t.rejects(read(`${'x'.repeat(MOST + 1)}\n`), RangeError)
  await t.rejects(read('x'.repeat(MOST), 'x'), RangeError)
})

t.test('bytes that are no UTF-8 end the stream: replaced characters would be silent damage', async t => {
  await t.rejects(read(Uint8Array.of(0xff, 0x0a)), TypeError)
})

t.test('wherever the bytes are cut, the lines are the same', async t => {
  const line = string({ unit: 'grapheme', maxLength: 12 }).map(text => text.replaceAll('\n', ''))
  const property = asyncProperty(array(line), array(nat(40)), async (lines, cuts) => {
    const bytes = Buffer.from(lines.map(text => `${text}\n`).join(''))
    const parts: Uint8Array[] = []
    let from = 0
    for (const cut of cuts) {
      parts.push(bytes.subarray(from, from + cut))
      from += cut
    }
    parts.push(bytes.subarray(from))
    const found = await collected(linesOf(chunks(...parts), 1024))
    return found.length === lines.length && found.every((text, index) => text === lines[index])
  })
  await assert(property)
  t.pass('lines are independent of chunks')
})
