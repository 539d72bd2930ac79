import { Agent, ProxyAgent, buildConnector, type Dispatcher } from 'undici'

import type { Clock } from '../clock.ts'
import type { Credentials } from './credentials.ts'

/** One set of connections, used until the credentials change or it is distrusted. */
export interface Connections {
  readonly dispatcher: Dispatcher
  readonly fingerprint: string
  /** When something last arrived, by the monotonic clock. */
  lastSign: number
}

/** The connections of one purpose: watches, or requests. */
export interface Lane {
  readonly connections: (credentials: Credentials) => Connections
  /**
   * An answer did not come in time. Its own connection ends with it, but the others went the same way and may be as
   * dead: nothing new is sent on them, and what still waits there is broken off if nothing at all has arrived since
   * `since`.
   */
  readonly distrust: (connections: Connections, since: number) => void
  readonly close: () => Promise<void>
}

export interface LaneOptions {
  readonly clock: Clock
  /** Most sockets at a time, `null` for no bound. */
  readonly sockets: number | null
  /** Hears of every socket, so that they can be counted. */
  readonly onSocket?: ((socket: Socket) => void) | undefined
}

interface Socket {
  once: (event: 'close', listener: () => void) => unknown
}

/**
 * How long an unused connection is kept: longer than the 2 s between two renewals of a lease, so that these share one,
 * and short, so that those of a burst are soon gone.
 */
const IDLE_MS = 4_000

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
  return {
    connections: credentials => {
      if (current && current.fingerprint !== credentials.fingerprint) retire(current)
      current ??= {
        dispatcher: createDispatcher(credentials, options),
        fingerprint: credentials.fingerprint,
        lastSign: options.clock.monotonic(),
      }
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
  const pool = { connections: options.sockets, keepAliveTimeout: IDLE_MS, allowH2: false }
  // undici resolves names at the proxy in any case, which is what the h asks for.
  if (proxy) return new ProxyAgent({ ...pool, uri: proxy.replace(/^socks5h:/, 'socks5:'), requestTls: tls })
  const connect = buildConnector({
    ...tls,
    allowH2: false,
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
