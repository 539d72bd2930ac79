import { Agent, ProxyAgent, buildConnector, type Dispatcher } from 'undici'

import type { Clock } from './clock.ts'
import type { Credentials } from './credentials.ts'

/** One set of connections, used until the credentials change or it is distrusted. In HTTP/2 it is one connection. */
export interface Connections {
  readonly dispatcher: Dispatcher
  /** Settles when something has been answered here; absent when nobody has asked for a proof yet. */
  proof: Promise<void> | undefined
  readonly fingerprint: string
  /** When something last arrived, by the monotonic clock. */
  lastSign: number
}

/** The connections of one purpose: watches, or requests. */
export interface Lane {
  readonly connections: (credentials: Credentials) => Connections
  /**
   * An answer did not come in time. In HTTP/1.1 that costs the connection; in HTTP/2 everything else would go on
   * waiting on a connection that may be dead (kubernetes/kubernetes#87615), so nothing new is sent on it, and
   * what still waits there is broken off if nothing at all has arrived since `since`.
   */
  readonly distrust: (connections: Connections, since: number) => void
  readonly close: () => Promise<void>
}

export interface LaneOptions {
  readonly clock: Clock
  /** Offers HTTP/2; the server may still choose HTTP/1.1. */
  readonly http2: boolean
  /** Most sockets at a time, `null` for no bound. HTTP/2 stays at one until a hundred requests are under way. */
  readonly sockets: number | null
  /** Hears of every socket, so that they can be counted. */
  readonly onSocket?: ((socket: Socket) => void) | undefined
}

interface Socket {
  readonly alpnProtocol?: string | false | null
  once: (event: 'close', listener: () => void) => unknown
}

/**
 * How long an unused connection is kept: longer than the 10 s between two attempts at anything periodic, shorter
 * than the idle time-outs of the load balancers in front of apiservers (60 s for AWS' and more elsewhere).
 */
const IDLE_MS = 30_000

const CONNECT_TIMEOUT_MS = 10_000

/** When TCP starts to ask whether the other end is still there; as client-go and client-node. */
const KEEP_ALIVE_MS = 30_000

export function createLane(options: LaneOptions): Lane {
  let current: Connections | undefined
  const retired = new Set<Promise<void>>()

  const retire = (old: Connections, error?: Error): void => {
    if (current === old) current = undefined
    const gone = (error ? old.dispatcher.destroy(error) : old.dispatcher.close()).catch(() => {})
    retired.add(gone)
    void gone.then(() => retired.delete(gone))
  }
  const create = (credentials: Credentials): Connections => {
    const onSocket = (socket: Socket): void => {
      options.onSocket?.(socket)
      if (socket.alpnProtocol === 'h2')
        socket.once('close', () => retire(created, new Error('the connection was closed')))
    }
    const created: Connections = {
      dispatcher: createDispatcher(credentials, { ...options, onSocket }),
      fingerprint: credentials.fingerprint,
      proof: undefined,
      lastSign: options.clock.monotonic(),
    }
    return created
  }
  return {
    connections: credentials => {
      if (current && current.fingerprint !== credentials.fingerprint) retire(current)
      current ??= create(credentials)
      return current
    },
    distrust: (connections, since) => {
      const silent = connections.lastSign <= since
      if (silent) retire(connections, new Error('nothing has arrived on this connection for too long'))
      else if (connections === current) retire(connections)
    },
    close: async () => {
      if (current) retire(current, new Error('the access to the apiserver was closed'))
      await Promise.all(retired)
    },
  }
}

function createDispatcher({ proxy, tls }: Credentials, options: LaneOptions): Dispatcher {
  const pool = { connections: options.sockets, keepAliveTimeout: IDLE_MS, allowH2: options.http2 }
  // undici resolves names at the proxy in any case, which is what the h asks for.
  if (proxy) return new ProxyAgent({ ...pool, uri: proxy.replace(/^socks5h:/, 'socks5:'), requestTls: tls })
  const connect = buildConnector({
    ...tls,
    allowH2: options.http2,
    timeout: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  })
  return new Agent({
    ...pool,
    connect: (target, callback) => {
      connect(target, (...result) => {
        if (result[1]) options.onSocket?.(result[1])
        callback(...result)
      })
    },
  })
}
