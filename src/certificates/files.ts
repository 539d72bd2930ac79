import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'

/** A certificate and its key, PEM. */
interface Pair {
  readonly cert: string
  readonly key: string
}

export interface FileCertificates {
  /** Resolves with the pair as it is; `onLeaf` is told of every later one until the signal aborts. */
  readonly start: (onLeaf: (pair: Pair) => void, signal: AbortSignal) => Promise<Pair>
  /** For readiness. */
  readonly hasValidLeaf: () => boolean
}

export interface FileCertificatesOptions {
  readonly dir: string
  readonly logger: Logger
  readonly pollMs?: number
}

/** A Secret's mount swaps its files at once, and not every file system tells of it: looked at time and again. */
const POLL_MS = 10_000

/**
 * `tls.crt` and `tls.key` in a folder that somebody else renews, such as cert-manager. Both are read as a pair, and
 * the last good pair stays where a new one does not fit together (controller-runtime's certwatcher does the same).
 */
export function createFileCertificates({
  dir,
  logger,
  pollMs = POLL_MS,
}: FileCertificatesOptions): FileCertificates {
  let shown: Pair | undefined
  const look = async (onLeaf: (pair: Pair) => void): Promise<void> => {
    try {
      const pair = await readPair(dir)
      if (pair.cert !== shown?.cert) onLeaf(pair)
      shown = pair
    } catch (err) {
      logger.warn({ err, dir }, 'could not read the certificate anew; the last good pair stays')
    }
  }
  const follow = async (onLeaf: (pair: Pair) => void, signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      // oxlint-disable-next-line no-await-in-loop -- one look after the other
      await sleep(pollMs, undefined, { signal, ref: false }).catch(() => undefined)
      // oxlint-disable-next-line no-await-in-loop -- as above
      await look(onLeaf)
    }
  }
  return {
    start: async (onLeaf, signal) => {
      shown = await readPair(dir)
      void follow(onLeaf, signal)
      return shown
    },
    hasValidLeaf: () =>
      shown !== undefined && new Date(new X509Certificate(shown.cert).validTo).getTime() > Date.now(),
  }
}

async function readPair(dir: string): Promise<Pair> {
  const [cert, key] = await Promise.all(['tls.crt', 'tls.key'].map(name => readFile(join(dir, name), 'utf8')))
  if (
    cert === undefined ||
    key === undefined ||
    !new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))
  )
    throw new Error(`${dir}: tls.key is not the key of tls.crt`)
  return { cert, key }
}
