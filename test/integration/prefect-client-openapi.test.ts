import { readFile } from 'node:fs/promises'

import t from 'tap'
import { z } from 'zod'

import { pruned } from '../../scripts/openapi/prune.ts'
import { startPrefect } from '../cluster/prefect.ts'

// The start of a server takes 5 s, on a busy machine more.
t.setTimeout(120_000)

const prefect = await startPrefect({ services: false })
t.teardown(prefect.stop)

const document = z.record(z.string(), z.json())

t.test('the pinned server still has the API that the types were made of', async t => {
  const file = new URL('../../scripts/openapi/prefect.json', import.meta.url)
  const ours: unknown = JSON.parse(await readFile(file, 'utf8'))
  const theirs = document.parse(await prefect.api.send('GET', '/openapi.json'))
  t.strictSame(
    pruned(theirs),
    ours,
    'after a change: npm run generate in scripts/openapi, with PREFECT_API_URL set',
  )
})
