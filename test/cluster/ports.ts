import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * Below the range from which Linux, macOS and others take ports for outgoing connections (32768 and up), so that a
 * port stays ours while its server restarts, and above what services commonly use.
 */
const FIRST = 20_000
const LAST = 32_000

/** A port on 127.0.0.1 that nobody listens on at this moment. Somebody may before we do: be ready to ask again. */
export async function findFreePort(): Promise<number> {
  const port = FIRST + Math.floor(Math.random() * (LAST - FIRST))
  return (await isFree(port)) ? port : findFreePort()
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch {
    return false
  }
  server.close()
  await once(server, 'close')
  return true
}
