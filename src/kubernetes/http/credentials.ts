import { hash } from 'node:crypto'
import type { RequestOptions } from 'node:https'
import type { ConnectionOptions } from 'node:tls'

import { KubeConfig, type DispatcherOptions } from '@kubernetes/client-node'

import type { Clock } from '../clock.ts'
import { present } from '../parse/fields.ts'

type Tls = Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'passphrase' | 'rejectUnauthorized' | 'servername'>

/** What a connection and a request need to be let in. */
export interface Credentials {
  readonly origin: string
  /** The path of the server's URL without its last slash: Rancher and others keep clusters below a path. */
  readonly basePath: string
  readonly headers: Readonly<Record<string, string>>
  readonly tls: Tls
  /** Where the kubeconfig names one. */
  readonly proxy: string | undefined
  /** Equal for credentials that may share connections. */
  readonly fingerprint: string
}

export interface CredentialSource {
  readonly current: () => Promise<Credentials>
  /** Reads everything anew, unless somebody has done so since `refused` was handed out. */
  readonly renew: (refused: Credentials) => Promise<Credentials>
}

/**
 * How long certificates and tokens are used before their files are looked at again. client-node itself keeps a
 * service account's token for 60 s, as client-go does; a request for every read of four files would be waste.
 */
const REREAD_MS = 30_000

/**
 * Lets client-node find out how to authenticate (service account token, client certificate, exec plugin, ...) and
 * keeps the answer for a while. client-node cannot be told to forget a token that was refused, so `renew` asks a
 * fresh KubeConfig with the same contents: its authenticators have no memory and read or run everything again.
 */
export function createCredentials(kubeConfig: KubeConfig, clock: Clock): CredentialSource {
  let config = kubeConfig
  let known: { readonly credentials: Credentials; readonly readAt: number } | undefined
  let reading: Promise<Credentials> | undefined

  const read = async (): Promise<Credentials> => {
    const credentials = await credentialsOf(config)
    known = { credentials, readAt: clock.monotonic() }
    return credentials
  }
  const readOnce = async (): Promise<Credentials> => {
    reading ??= read().finally(() => {
      reading = undefined
    })
    return reading
  }
  return {
    current: async () => {
      const fresh = known !== undefined && clock.monotonic() - known.readAt < REREAD_MS
      return fresh && known ? known.credentials : readOnce()
    },
    renew: async refused => {
      if (known && known.credentials !== refused) return known.credentials
      if (!reading) config = withoutMemory(config)
      return readOnce()
    },
  }
}

function withoutMemory(config: KubeConfig): KubeConfig {
  const fresh = new KubeConfig()
  const { clusters, users, contexts, currentContext } = config
  fresh.loadFromOptions({ clusters, users, contexts, currentContext })
  return fresh
}

async function credentialsOf(config: KubeConfig): Promise<Credentials> {
  const cluster = config.getCurrentCluster()
  if (!cluster)
    throw new Error(
      `kubeconfig: context ${config.getCurrentContext()} names no cluster; choose another context`,
    )
  const options: RequestOptions = {}
  await config.applyToHTTPSOptions(options)
  const tls = tlsOf(options)
  const proxy = proxyOf(config.createDispatcherOptions(cluster, tls))
  const { origin, pathname } = new URL(cluster.server)
  return {
    origin,
    basePath: pathname.replace(/\/$/, ''),
    headers: headersOf(options),
    tls,
    proxy,
    fingerprint: hash('sha256', JSON.stringify([origin, tls, proxy])),
  }
}

function tlsOf({ ca, cert, key, passphrase, rejectUnauthorized, servername }: RequestOptions): Tls {
  return {
    ...present('ca', ca),
    ...present('cert', cert),
    ...present('key', key),
    ...present('passphrase', passphrase),
    ...present('rejectUnauthorized', rejectUnauthorized),
    ...present('servername', servername),
  }
}

/** client-node knows which proxies it can use, and refuses plain HTTP where the kubeconfig does not allow it. */
const proxyOf = (options: DispatcherOptions): string | undefined =>
  options.type === 'proxy' || options.type === 'socks' ? options.uri : undefined

function headersOf(options: RequestOptions): Record<string, string> {
  const headers = new Map<string, string>()
  for (const [name, value] of Object.entries(options.headers ?? {}))
    headers.set(name.toLowerCase(), String(value))
  // client-node leaves a user name and password to node:https.
  if (options.auth) headers.set('authorization', `Basic ${Buffer.from(options.auth).toString('base64')}`)
  return Object.fromEntries(headers)
}
