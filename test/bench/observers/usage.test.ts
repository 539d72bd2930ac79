import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { connectionsTo, usageOf } from './usage.ts'

t.test('a process’s memory and time are what it says of itself', async t => {
  const began = process.cpuUsage()
  const { rssMiB, cpuSeconds } = await usageOf(process.pid)
  const itself = process.memoryUsage().rss / 2 ** 20
  t.ok(Math.abs(rssMiB - itself) < itself / 5, `${rssMiB} MiB beside ${itself}`)
  const seconds = (began.user + began.system) / 1e6
  // Counted in hundredths.
  t.ok(cpuSeconds > seconds - 0.02, `${cpuSeconds} s beside ${seconds}`)
})

t.test('connections to a port are counted, and no others', async t => {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  t.equal(await connectionsTo(port, process.pid), 0, 'who listens is not connected')
  const sockets = [connect(port), connect(port)]
  await Promise.all(sockets.map(socket => once(socket, 'connect')))
  t.equal(await connectionsTo(port, process.pid), 2)
  t.equal(await connectionsTo(port + 1, process.pid), 0)
  for (const socket of sockets) socket.destroy()
  server.close()
})
