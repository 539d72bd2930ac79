import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { z } from 'zod'
import type { ParentOf } from '../../src/core/parent.ts'
import { hanging, serverOf, subflow } from './server-of.ts'
import { listen } from './on-cluster.ts'

/*
 * A replica of the admission half as a process of its own, to be restarted and killed:
 *   node replica.ts <folder with tls.crt and tls.key>
 * It tells its parent process the port it listens on; the parent may tell it `hangs` or `answers`, which is what Prefect
 * does from then on. On SIGTERM it shuts down as main does.
 */

/** Longer than the balancer takes to stop sending new connections, as in a cluster. */
const DRAIN_MS = 1_000

const folder = z.string().parse(process.argv[2])
const [cert, key] = await Promise.all(
  ['tls.crt', 'tls.key'].map(name => readFile(join(folder, name), 'utf8')),
)
if (cert === undefined || key === undefined) throw new Error(`no certificate in ${folder}`)

let prefect: ParentOf = subflow
const { server } = serverOf({
  tls: { cert, key },
  lookupDeadlineMs: 300,
  parentOf: (id, signal) => prefect(id, signal),
})
process.on('message', told => {
  prefect = told === 'hangs' ? hanging : subflow
})
process.once('SIGTERM', () => void shutDown())
process.send?.({ port: await listen(server) })

async function shutDown(): Promise<void> {
  server.drain()
  await setTimeout(DRAIN_MS)
  await server.close()
  process.disconnect()
}
