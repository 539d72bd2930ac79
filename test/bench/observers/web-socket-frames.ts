/** Bytes of a frame's header that are always there, and of the key by which a client masks what it sends (RFC 6455, 5.2). */
const HEAD = 2
const MASK = 4

/** Text and binary; a continuation belongs to the message before it, and pings are no messages. */
const MESSAGES: ReadonlySet<number> = new Set([1, 2])

/** Counts the messages that a web socket's client sends, from its bytes as they come. */
export function createFrameCounter(onMessage: () => void): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return bytes => {
    rest = Buffer.concat([rest, bytes])
    for (let size = frameSize(rest); size !== undefined && size <= rest.length; size = frameSize(rest)) {
      if (MESSAGES.has((rest[0] ?? 0) & 0x0f)) onMessage()
      rest = rest.subarray(size)
    }
  }
}

/** The whole frame's, once enough of it is there to tell. */
function frameSize(bytes: Buffer): number | undefined {
  if (bytes.length < HEAD) return undefined
  const second = bytes[1] ?? 0
  const mask = (second & 0x80) === 0 ? 0 : MASK
  const length = second & 0x7f
  if (length < 126) return HEAD + mask + length
  const extended = length === 126 ? 2 : 8
  if (bytes.length < HEAD + extended) return undefined
  const size = length === 126 ? bytes.readUInt16BE(HEAD) : Number(bytes.readBigUInt64BE(HEAD))
  return HEAD + extended + mask + size
}
