import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { findFreePort } from '../cluster/ports.ts'

/** What is wrong with the connections of a link while a fault lasts. */
export type LinkFault =
  /** Nothing passes in either direction; it comes later. */
  | { readonly kind: 'stall' }
  /** Connections are accepted, and what is sent vanishes; those that are open stay so for ever, and dead. */
  | { readonly kind: 'halfOpen' }
  /** Nobody listens, and what was open is cut. */
  | { readonly kind: 'refused' }
  /** Everything comes later. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** Connections are reset after so many bytes of the answer, which is in the middle of something. */
  | { readonly kind: 'cut'; readonly afterBytes: number }

/** One client's way to one server. */
export interface Link {
  readonly port: number
  readonly begin: (fault: LinkFault) => Promise<void>
  readonly heal: () => Promise<void>
  /** Resets whatever is open. */
  readonly reset: () => void
  /** How many pieces are held back by latency. */
  readonly waiting: () => number
  readonly close: () => Promise<void>
}

interface Connection {
  readonly client: Socket
  readonly server: Socket
  /** Bytes of answers so far. */
  answered: number
  isDead: boolean
  /** By the socket they are for. */
  readonly waiting: Map<Socket, Delayed[]>
}

interface State {
  fault: LinkFault | undefined
  readonly connections: Set<Connection>
}

/**
 * A TCP proxy that misbehaves on demand. Our own, in some hundred lines: toxiproxy is another program to download or
 * build, speaks of upstream and downstream toxics per connection, and knows neither a connection that is accepted and
 * dead for ever nor a schedule that a seed gives again.
 */
export async function createLink(targetPort: number): Promise<Link> {
  const state: State = { fault: undefined, connections: new Set() }
  const server = createServer({ noDelay: true }, client => {
    accept(state, client, targetPort)
  })
  const port = await findFreePort()
  await listen(server, port)
  return {
    port,
    begin: async fault => {
      state.fault = fault
      if (fault.kind === 'stall') for (const connection of state.connections) pause(connection)
      if (fault.kind === 'halfOpen') for (const connection of state.connections) bury(connection)
      if (fault.kind === 'refused') await refuse(state, server)
    },
    heal: async () => {
      const was = state.fault
      state.fault = undefined
      if (was?.kind === 'stall') for (const connection of state.connections) resume(connection)
      if (was?.kind === 'refused') await listen(server, port)
    },
    reset: () => {
      resetAll(state)
    },
    waiting: () => {
      const queues = [...state.connections].flatMap(({ waiting }) => Array.from(waiting.values()))
      return queues.reduce((sum, queue) => sum + queue.length, 0)
    },
    close: async () => {
      resetAll(state)
      if (server.listening) server.close()
    },
  }
}

/** Somebody's outgoing connection may have the port for a moment. */
async function listen(server: Server, port: number, attemptsLeft = 50): Promise<void> {
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    return
  } catch (error) {
    if (attemptsLeft <= 1) throw error
  }
  await sleep(100)
  await listen(server, port, attemptsLeft - 1)
}

async function refuse(state: State, server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  resetAll(state)
  await closed
}

function resetAll(state: State): void {
  for (const { client, server } of state.connections) {
    client.resetAndDestroy()
    server.destroy()
  }
}

function accept(state: State, client: Socket, targetPort: number): void {
  const server = connect({ port: targetPort, host: '127.0.0.1', noDelay: true })
  const connection: Connection = { client, server, answered: 0, isDead: false, waiting: new Map() }
  state.connections.add(connection)
  client.on('data', chunk => pass(state, connection, { chunk, to: server }))
  server.on('data', chunk => pass(state, connection, { chunk, to: client }))
  client.on('end', () => server.end())
  server.on('end', () => {
    if (!connection.isDead) client.end()
  })
  // A reset on one side is a reset on the other; `close` follows each `error`.
  client.on('error', () => server.destroy())
  server.on('error', () => {
    if (!connection.isDead) client.resetAndDestroy()
  })
  server.on('close', () => {
    if (!connection.isDead) client.destroy()
  })
  client.on('close', () => {
    server.destroy()
    state.connections.delete(connection)
  })
  if (state.fault?.kind === 'stall') pause(connection)
  if (state.fault?.kind === 'halfOpen') bury(connection)
}

interface Passage {
  readonly chunk: Buffer
  readonly to: Socket
}

/** No back-pressure: what is under way here are some megabytes at most. */
function pass(state: State, connection: Connection, { chunk, to }: Passage): void {
  if (connection.isDead) return
  const { fault } = state
  if (to === connection.client) connection.answered += chunk.length
  if (fault?.kind === 'cut' && connection.answered > fault.afterBytes) cut(connection, chunk)
  else later(connection, { chunk, to }, fault?.kind === 'latency' ? fault.ms : 0)
}

function cut(connection: Connection, chunk: Buffer): void {
  const { client, server } = connection
  connection.isDead = true
  client.write(chunk.subarray(0, chunk.length / 2), () => client.resetAndDestroy())
  server.destroy()
}

/** What comes behind something that waits, waits for it: bytes must not overtake each other. */
function later({ waiting }: Connection, { chunk, to }: Passage, ms: number): void {
  const queue = waiting.get(to) ?? []
  waiting.set(to, queue)
  if (ms === 0 && queue.length === 0) {
    to.write(chunk)
    return
  }
  queue.push({ chunk, dueAt: Math.max(performance.now() + ms, queue.at(-1)?.dueAt ?? 0) })
  if (queue.length === 1) deliverLater(queue, to)
}

interface Delayed {
  readonly chunk: Buffer
  readonly dueAt: number
}

function deliverLater(queue: Delayed[], to: Socket): void {
  const [first] = queue
  if (!first) return
  setTimeout(
    () => {
      if (to.writable) to.write(first.chunk)
      queue.shift()
      deliverLater(queue, to)
    },
    Math.max(0, first.dueAt - performance.now()),
  )
}

function pause({ client, server }: Connection): void {
  client.pause()
  server.pause()
}

function resume({ client, server }: Connection): void {
  client.resume()
  server.resume()
}

/** From now on the client talks to nobody, and nobody tells it. */
function bury(connection: Connection): void {
  connection.isDead = true
  connection.server.destroy()
}
