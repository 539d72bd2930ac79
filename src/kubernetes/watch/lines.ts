const NEWLINE = 0x0a

/**
 * Cuts a stream of bytes into the lines a watch is made of, one JSON object each. A line may come in any number of
 * chunks, cut anywhere, also inside a character: bytes are put together first and read as UTF-8 then. What follows
 * the last newline when the stream ends was not finished and is dropped.
 * A line beyond `maxBytes`, or bytes that are no UTF-8, throw: no apiserver sends them, so the stream is not one.
 */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let rest: Uint8Array[] = []
  let size = 0
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      assertSize(size + end - from, maxBytes)
      yield decoder.decode(joined(rest, chunk.subarray(from, end)))
      rest = []
      size = 0
      from = end + 1
    }
    if (from < chunk.length) rest.push(chunk.subarray(from))
    size += chunk.length - from
    assertSize(size, maxBytes)
  }
}

function assertSize(size: number, maxBytes: number): void {
  if (size > maxBytes) throw new RangeError(`a line of more than ${maxBytes} bytes`)
}

const joined = (rest: readonly Uint8Array[], last: Uint8Array): Uint8Array =>
  rest.length === 0 ? last : Buffer.concat([...rest, last])
