import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Logger } from 'pino'
import { Registry } from 'prom-client'
import { isValidAt, readKeyPair } from './authority.ts'
import type { KeyPair } from './authority.ts'
import { createCertificateMetrics } from './metrics.ts'
import { repeat } from './repeat.ts'

export interface FileCertificates {
  /** Resolves with the pair as it is; `onLeaf` is told of every later one until the signal aborts. */
  readonly start: (onLeaf: (pair: KeyPair) => void, signal: AbortSignal) => Promise<KeyPair>
  /** For readiness. */
  readonly hasValidLeaf: () => boolean
}

export interface FileCertificatesOptions {
  readonly dir: string
  readonly logger: Logger
  /** Where the expiry is exported; nowhere if absent. */
  readonly registry?: Registry
  readonly now?: () => Date
  readonly pollMs?: number
}

/** A Secret's mount swaps its files at once, and not every file system tells of it: looked at time and again. */
const POLL_MS = 10_000

/**
 * `tls.crt` and `tls.key` in a folder that somebody else renews, such as cert-manager. Both are read as a pair, and
 * the last good pair stays where a new one does not fit together (controller-runtime's certwatcher does the same).
 */
export function createFileCertificates(options: FileCertificatesOptions): FileCertificates {
  const { dir, logger, registry = new Registry(), now = () => new Date(), pollMs = POLL_MS } = options
  const metrics = createCertificateMetrics(registry)
  let shown: KeyPair | undefined
  const show = (pair: KeyPair): KeyPair => {
    shown = pair
    metrics.expires('leaf', pair)
    return pair
  }
  const look = async (onLeaf: (pair: KeyPair) => void): Promise<void> => {
    try {
      const pair = await readPair(dir)
      if (pair.cert !== shown?.cert) onLeaf(show(pair))
    } catch (err) {
      metrics.failed('leaf')
      logger.warn({ err, dir }, 'could not read the certificate anew; the last good pair stays')
    }
  }
  return {
    start: async (onLeaf, signal) => {
      const first = show(await readPair(dir))
      void repeat(() => look(onLeaf), pollMs, signal)
      return first
    },
    hasValidLeaf: () => shown !== undefined && isValidAt(shown, now()),
  }
}

async function readPair(dir: string): Promise<KeyPair> {
  const [cert, key] = await Promise.all([
    readFile(join(dir, 'tls.crt'), 'utf8'),
    readFile(join(dir, 'tls.key'), 'utf8'),
  ])
  const pair = readKeyPair(cert, key)
  if (pair === undefined) throw new Error(`${dir}: tls.crt and tls.key are no certificate and its key`)
  return pair
}
