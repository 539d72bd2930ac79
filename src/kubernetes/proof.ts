import type { Credentials } from './credentials.ts'
import { createDeadline } from './deadline.ts'
import type { Connections, Lane } from './transport.ts'

/** Longer than it takes to give up a connection that cannot be made. */
const PROOF_MS = 12_000

/**
 * Has a small question answered before a watch is entrusted to a new connection; rejects, and gives the connection
 * up, when no answer comes. undici 8.12 does not notice that an HTTP/2 connection was reset between its TLS handshake
 * and its first frames: it takes it for alive, and every request on it waits for ever (measured: about one of twenty
 * resets during the first milliseconds). On a connection that has answered once, resets are noticed.
 */
export async function prove(
  connections: Connections,
  { origin, basePath, headers }: Credentials,
  lane: Pick<Lane, 'distrust'>,
): Promise<void> {
  const deadline = createDeadline(new AbortController().signal, PROOF_MS)
  try {
    const { body } = await connections.dispatcher.request({
      origin,
      path: `${basePath}/version`,
      method: 'GET',
      headers,
      signal: deadline.signal,
    })
    await body.dump()
  } catch (error) {
    lane.distrust(connections, Infinity)
    throw error
  } finally {
    deadline.clear()
  }
}
