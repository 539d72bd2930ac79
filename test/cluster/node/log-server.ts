import { createReadStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { createServer } from 'node:https'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { selfMadeServingCertificate } from '../credentials.ts'
import type { PodWorker } from './pod-worker.ts'

export interface LogServer {
  readonly port: number
  readonly close: () => Promise<void>
}

export interface LogServerDeps {
  readonly nodeName: string
  readonly find: (namespace: string, pod: string) => PodWorker | undefined
}

/** Namespace, pod, container: names that need no decoding. */
const LOGS_PATH = /^\/containerLogs\/([^/]+)\/([^/]+)\/([^/]+)$/
/** How often a followed log is looked at. */
const FOLLOW_MS = 100

/**
 * The part of a kubelet's API that the apiserver asks for logs: `/containerLogs/{namespace}/{pod}/{container}` with
 * tailLines, limitBytes, previous and follow. On 127.0.0.1, without authentication: it shows what anybody here can read.
 */
export async function startLogServer(deps: LogServerDeps): Promise<LogServer> {
  const server = createServer(await selfMadeServingCertificate(deps.nodeName), (request, response) => {
    answer(deps, request, response).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  server.unref()
  return { port: (server.address() as AddressInfo).port, close: () => closeServer(server) }
}

async function closeServer(server: Server | ReturnType<typeof createServer>): Promise<void> {
  server.closeAllConnections()
  await new Promise(resolve => server.close(resolve))
}

async function answer(
  { find }: LogServerDeps,
  { url = '' }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { namespace, pod, container, query } = parse(url)
  const worker = find(namespace, pod)
  const file = worker?.logFile(container, query.get('previous') === 'true')
  if (!worker || file === undefined) {
    response.writeHead(404, { 'content-type': 'text/plain' })
    response.end(`container "${container}" of pod "${pod}" has not run here\n`)
    return
  }
  response.writeHead(200, { 'content-type': 'text/plain' })
  response.write(limit(await readFile(file), query))
  if (query.get('follow') === 'true') await follow(file, { response, worker, container })
  response.end()
}

interface LogRequest {
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly query: URLSearchParams
}

/** Of another path, one that names nothing. */
function parse(url: string): LogRequest {
  const { pathname, searchParams: query } = new URL(url, 'https://node')
  const [, namespace = '', pod = '', container = ''] = LOGS_PATH.exec(pathname) ?? []
  return { namespace, pod, container, query }
}

function limit(log: Buffer, query: URLSearchParams): Buffer {
  const lines = query.get('tailLines')
  const bytes = query.get('limitBytes')
  const tail = lines === null ? log : lastLines(log, Number(lines))
  return bytes === null ? tail : tail.subarray(0, Number(bytes))
}

/** The last `count` lines; a last one without an end counts. */
function lastLines(log: Buffer, count: number): Buffer {
  const text = log.toString('latin1')
  const lines = text.split('\n')
  const rest = lines.at(-1) === '' ? count + 1 : count
  return Buffer.from(count === 0 ? '' : lines.slice(-rest).join('\n'), 'latin1')
}

interface Follow {
  readonly response: ServerResponse
  readonly worker: PodWorker
  readonly container: string
}

async function follow(file: string, { response, worker, container }: Follow): Promise<void> {
  let offset = (await stat(file)).size
  while (!response.destroyed) {
    // Asked first, so that nothing written before its end is missed.
    const isRunning = worker.isRunning(container)
    const { size } = await stat(file)
    if (size > offset) {
      await pipeline(createReadStream(file, { start: offset, end: size - 1 }), response, { end: false })
      offset = size
    }
    if (!isRunning) return
    await sleep(FOLLOW_MS)
  }
}
