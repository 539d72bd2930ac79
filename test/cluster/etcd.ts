import { Client } from 'undici'
import { z } from 'zod'

const answerSchema = z.object({ header: z.object({ revision: z.coerce.number().int().positive() }) })

/**
 * Makes an etcd, by its Unix socket, forget every version of every key older than now. Gives the revision it compacted.
 * @throws when etcd does not answer, or has compacted there already.
 */
export async function compactEtcd(socket: string): Promise<number> {
  const client = new Client('http://etcd', { socketPath: socket })
  try {
    const { header } = answerSchema.parse(await post(client, '/v3/kv/range', { key: btoa('/none') }))
    await post(client, '/v3/kv/compaction', { revision: String(header.revision), physical: true })
    return header.revision
  } finally {
    await client.close()
  }
}

async function post(client: Client, path: string, body: object): Promise<unknown> {
  const response = await client.request({ method: 'POST', path, body: JSON.stringify(body) })
  const text = await response.body.text()
  if (response.statusCode !== 200)
    throw new Error(`etcd answered POST ${path} with ${response.statusCode}: ${text}`)
  return JSON.parse(text)
}
