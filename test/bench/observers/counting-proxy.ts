import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Agent, request } from 'undici'
import { z } from 'zod'
import { createFrameCounter } from './web-socket-frames.ts'

/** How often each endpoint was asked since the start: `POST /flow_runs/{id}/set_state`. */
export type Counts = ReadonlyMap<string, number>

/** A Prefect API that counts what it is asked. */
export interface CountingProxy extends AsyncDisposable {
  /** `http://127.0.0.1:<port>/api` */
  readonly apiUrl: string
  /** HTTP requests by endpoint; a web socket counts when it is opened. */
  readonly counts: () => Counts
  /** Messages that were sent to Prefect over web sockets: the events of its own observer. */
  readonly messages: () => number
  /** When a run was Crashed by way of this proxy, in milliseconds since 1970: Prefect had just said so. */
  readonly crashedAt: (flowRunId: string) => number | undefined
  /** Of the last request, in milliseconds since 1970; 0 before the first. */
  readonly lastRequestAt: () => number
}

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/
const SET_STATE = /\/flow_runs\/([^/]+)\/set_state$/

/** Prefect's server closes an idle connection after 5 s (uvicorn's default). */
const KEEP_ALIVE_MS = 2_000

const proposalSchema = z.looseObject({ state: z.looseObject({ type: z.string() }) })
const verdictSchema = z.looseObject({ status: z.string() })

/** Headers that are about one connection only; and answers are to come unpacked, for they are read. */
const NOT_PASSED: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'host',
  'accept-encoding',
])

/** Stands between one client and Prefect, so that whoever the client is, it is counted in the same way. */
export async function startCountingProxy(upstreamUrl: string): Promise<CountingProxy> {
  const upstream = new URL(upstreamUrl)
  const agent = new Agent({ keepAliveTimeout: KEEP_ALIVE_MS, connections: null })
  const counts = new Map<string, number>()
  const crashes = new Map<string, number>()
  const sockets = new Set<Duplex>()
  const state = { lastRequestAt: 0, messages: 0 }
  const count = ({ method = '', url = '' }: IncomingMessage): void => {
    state.lastRequestAt = Date.now()
    const endpoint = `${method} ${endpointOf(url, upstream.pathname)}`
    counts.set(endpoint, (counts.get(endpoint) ?? 0) + 1)
  }
  const pass = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const body = await bytesOf(incoming)
    const answer = await request(new URL(incoming.url ?? '/', upstream), {
      dispatcher: agent,
      method: incoming.method ?? 'GET',
      headers: passedOn(incoming.headers),
      body: body.length > 0 ? body : null,
    })
    const bytes = Buffer.from(await answer.body.arrayBuffer())
    const [, flowRunId] = SET_STATE.exec(incoming.url ?? '') ?? []
    if (flowRunId !== undefined && isCrash(body, bytes)) crashes.set(flowRunId, Date.now())
    outgoing.writeHead(answer.statusCode, passedOn(answer.headers))
    outgoing.end(bytes)
  }
  const server = createServer((incoming, outgoing) => {
    count(incoming)
    pass(incoming, outgoing).catch(() => outgoing.destroy())
  })
  server.on('upgrade', (incoming: IncomingMessage, socket: Socket, head: Buffer) => {
    count(incoming)
    const other = connect(Number(upstream.port), upstream.hostname)
    const messages = createFrameCounter(() => {
      state.lastRequestAt = Date.now()
      state.messages += 1
    })
    other.write(headOf(incoming, upstream.host))
    messages(head)
    other.write(head)
    socket.on('data', messages)
    socket.pipe(other).pipe(socket)
    for (const one of [socket, other]) {
      sockets.add(one)
      one.on('error', () => one.destroy())
      one.on('close', () => {
        sockets.delete(one)
        socket.destroy()
        other.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // Listening on TCP, it has one.
  const { port } = server.address() as AddressInfo
  return {
    apiUrl: `http://127.0.0.1:${port}${upstream.pathname}`,
    counts: () => new Map(counts),
    messages: () => state.messages,
    crashedAt: flowRunId => crashes.get(flowRunId),
    lastRequestAt: () => state.lastRequestAt,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      server.closeAllConnections()
      await new Promise(resolve => server.close(resolve))
      await agent.destroy()
    },
  }
}

/** `/api/flow_runs/3f2a…/set_state?x=y` is `/flow_runs/{id}/set_state`. */
const endpointOf = (url: string, prefix: string): string =>
  (url.split('?')[0] ?? '').replace(prefix, '').replace(UUID, '{id}')

async function bytesOf(incoming: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  return Buffer.concat(chunks)
}

function passedOn(headers: IncomingMessage['headers']): Record<string, string | string[]> {
  const passed: Record<string, string | string[]> = {}
  for (const [name, value] of Object.entries(headers))
    if (value !== undefined && !NOT_PASSED.has(name)) passed[name] = value
  return passed
}

function isCrash(proposal: Buffer, answer: Buffer): boolean {
  try {
    const { state } = proposalSchema.parse(JSON.parse(proposal.toString()))
    const { status } = verdictSchema.parse(JSON.parse(answer.toString()))
    return state.type === 'CRASHED' && status === 'ACCEPT'
  } catch {
    return false
  }
}

/** The request that opens a web socket, as it came but for its host. */
function headOf({ method, url, rawHeaders }: IncomingMessage, host: string): string {
  const lines = [`${method} ${url} HTTP/1.1`]
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? ''
    lines.push(`${name}: ${name.toLowerCase() === 'host' ? host : rawHeaders[index + 1]}`)
  }
  return `${lines.join('\r\n')}\r\n\r\n`
}
