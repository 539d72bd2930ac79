import { Registry } from 'prom-client'
import { createOperationsServer } from '../../src/operations/server.ts'

export interface PageServer extends AsyncDisposable {
  readonly url: string
}

/** The operations server with one page, as it is: its headers are half of the matter. */
export async function servePage(page: string): Promise<PageServer> {
  const app = createOperationsServer({
    registry: new Registry(),
    liveness: () => [],
    readiness: () => [],
    information: () => [],
    page: async () => page,
  })
  const url = await app.listen({ host: '127.0.0.1', port: 0 })
  return { url: `${url}/`, [Symbol.asyncDispose]: () => app.close() }
}
