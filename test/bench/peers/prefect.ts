import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { json } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'

/** Everybody's parent. */
export const PARENT_TASK_RUN_ID = '11111111-1111-4111-8111-111111111111'

/**
 * Answers who the parent of a run is, as fast as nobody can: a real server takes a core to answer a hundred requests a
 * second, and there would be none left for what is measured. Rows are as long as those of Prefect 3.8.8.
 */
export interface PrefectStub extends AsyncDisposable {
  /** Ends in `/api`. */
  readonly url: string
  /** How long an answer takes from now on. */
  readonly answerAfter: (ms: number) => void
  /** Requests for parents so far. */
  readonly requests: () => number
  /** Nobody listens any more, as when Prefect is gone. */
  readonly goAway: () => Promise<void>
}

export async function startPrefectStub(): Promise<PrefectStub> {
  let delayMs = 0
  let requests = 0
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.url?.endsWith('/flow_runs/filter') !== true) return void response.writeHead(404).end('{}')
    requests += 1
    const ids = filter.parse(await json(request)).flow_runs.id['any_']
    if (delayMs > 0) await sleep(delayMs)
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(ids.map(rowOf)))
  }
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error as Error))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const goAway = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api`,
    answerAfter: ms => {
      delayMs = ms
    },
    requests: () => requests,
    goAway,
    [Symbol.asyncDispose]: goAway,
  }
}

const filter = z.object({ flow_runs: z.object({ id: z.object({ ['any_']: z.array(z.string()) }) }) })

const rowOf = (id: string): object => ({ ...ROW, id, parent_task_run_id: PARENT_TASK_RUN_ID })

/** The fields nobody reads, as long as they are together in an ordinary run. */
const ROW = { name: 'wisteria-nuthatch', parameters: { padding: 'x'.repeat(1_800) } }
