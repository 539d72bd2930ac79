import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

/** A wire to a server that can be hurt in ways a server cannot be asked for. Bytes pass as they are, TLS and all. */
export interface Proxy extends AsyncDisposable {
  readonly server: string
  readonly connections: () => number
  /** Open connections pass nothing any more and stay open: what a NAT that forgot them looks like. New ones work. */
  readonly freeze: () => void
  /** Resets open connections; new ones work. */
  readonly reset: () => void
  /** Resets open connections and refuses new ones, until `restore`. */
  readonly cut: () => void
  readonly restore: () => void
}

export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target)
  const pairs = new Set<readonly [Socket, Socket]>()
  let isCut = false
  const server = createServer(near => {
    if (isCut) {
      near.resetAndDestroy()
      return
    }
    const far = connect(Number(port), hostname)
    const pair = [near, far] as const
    pairs.add(pair)
    near.pipe(far)
    far.pipe(near)
    const end = (): void => {
      pairs.delete(pair)
      near.destroy()
      far.destroy()
    }
    for (const socket of pair) socket.on('error', end).on('close', end)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const reset = (): void => {
    for (const [near, far] of pairs) {
      near.resetAndDestroy()
      far.destroy()
    }
  }
  return {
    server: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections: () => pairs.size,
    freeze: () => {
      for (const [near, far] of pairs) {
        near.unpipe(far)
        far.unpipe(near)
        // What still arrives is taken and dropped, as by a router that no longer knows the connection.
        for (const socket of [near, far]) socket.on('data', () => {})
      }
    },
    reset,
    cut: () => {
      isCut = true
      reset()
    },
    restore: () => {
      isCut = false
    },
    [Symbol.asyncDispose]: async () => {
      server.close()
      reset()
      await once(server, 'close')
    },
  }
}
