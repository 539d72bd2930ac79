import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'

export interface Balancer {
  readonly port: number
  /** Where new connections go, in turn. Connections that are open stay where they are. */
  readonly backends: Set<number>
  readonly close: () => Promise<void>
}

/** What kube-proxy is to a Service: spreads connections over ports of this machine, knows nothing of what is in them. */
export async function createBalancer(): Promise<Balancer> {
  const backends = new Set<number>()
  const open = new Set<Socket>()
  let turn = 0
  const server = createServer(client => {
    turn += 1
    const port = [...backends][turn % backends.size]
    if (port === undefined) client.destroy()
    else join(client, connect({ host: 'localhost', port }), open)
  })
  await new Promise<void>(resolve => server.listen({ host: 'localhost', port: 0 }, resolve))
  return {
    port: (server.address() as AddressInfo).port,
    backends,
    close: () => {
      for (const socket of open) socket.destroy()
      return new Promise(resolve => server.close(() => resolve()))
    },
  }
}

/** Passes bytes and ends both ways; when one side breaks, so does the other. */
function join(client: Socket, backend: Socket, open: Set<Socket>): void {
  for (const [one, other] of [
    [client, backend],
    [backend, client],
  ] as const) {
    open.add(one)
    one.on('error', () => other.destroy())
    one.on('close', () => open.delete(one))
    one.pipe(other)
  }
}
