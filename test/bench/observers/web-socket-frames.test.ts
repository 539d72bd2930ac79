import t from 'tap'
import { createFrameCounter } from './web-socket-frames.ts'

const TEXT = 0x81
const FIRST_OF_SEVERAL = 0x01
const CONTINUATION = 0x80
const BINARY = 0x82
const PING = 0x89

/** A frame as a client sends it: masked. */
function frame(first: number, length: number): Buffer {
  const body = Buffer.alloc(4 + length, TEXT)
  if (length < 126) return Buffer.concat([Buffer.from([first, 0x80 | length]), body])
  const isShort = length < 2 ** 16
  const size = Buffer.alloc(isShort ? 2 : 8)
  if (isShort) size.writeUInt16BE(length)
  else size.writeBigUInt64BE(BigInt(length))
  return Buffer.concat([Buffer.from([first, 0x80 | (isShort ? 126 : 127)]), size, body])
}

const CASES: readonly (readonly [sentence: string, frames: readonly Buffer[], messages: number])[] = [
  ['nothing is no message', [], 0],
  ['a text is one', [frame(TEXT, 5)], 1],
  ['so is an empty one', [frame(TEXT, 0)], 1],
  ['binary counts, too', [frame(BINARY, 5)], 1],
  ['a ping does not', [frame(PING, 0), frame(TEXT, 5)], 1],
  ['one in three parts is one', [frame(FIRST_OF_SEVERAL, 5), frame(0, 5), frame(CONTINUATION, 5)], 1],
  [
    'large ones have longer headers',
    [frame(TEXT, 125), frame(TEXT, 126), frame(TEXT, 66_000), frame(TEXT, 1)],
    4,
  ],
]

for (const [sentence, frames, messages] of CASES)
  t.test(`${sentence}, however the bytes are cut`, async t => {
    const bytes = Buffer.concat(frames)
    for (const size of [bytes.length || 1, 3, 1_000]) {
      let count = 0
      const see = createFrameCounter(() => {
        count += 1
      })
      for (let at = 0; at < bytes.length; at += size) see(bytes.subarray(at, at + size))
      t.equal(count, messages, `in pieces of ${size}`)
    }
  })
