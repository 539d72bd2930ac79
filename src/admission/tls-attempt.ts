import { once } from 'node:events'
import { connect } from 'node:tls'
import type { TLSSocket } from 'node:tls'

export interface TlsTarget {
  readonly host: string
  readonly port: number
  /** What the apiserver calls us; the certificate has to name it. */
  readonly servername: string
  readonly now: () => Date
}

/**
 * Whether our own port completes a TLS handshake with a certificate that is good now and names us. Not whether
 * anybody trusts it: that is the canary's question. Rejects with what is wrong.
 */
export function createTlsAttempt({ host, port, servername, now }: TlsTarget) {
  return async (signal: AbortSignal): Promise<void> => {
    const socket = connect({ host, port, servername, rejectUnauthorized: false })
    try {
      await once(socket, 'secureConnect', { signal })
      const problem = problemOf(socket, { servername, now: now() })
      if (problem !== undefined) throw new Error(`${host}:${port} ${problem}`)
    } finally {
      socket.destroy()
    }
  }
}

function problemOf(
  socket: TLSSocket,
  { servername, now }: { readonly servername: string; readonly now: Date },
) {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return 'shows no certificate'
  if (certificate.checkHost(servername) === undefined)
    return `shows a certificate that does not name ${servername}`
  if (now >= certificate.validToDate) return `shows a certificate that ended on ${certificate.validTo}`
  return undefined
}
