/**
 * Writes what this project uses of a running server's OpenAPI document to prefect.json, of which openapi-typescript
 * makes src/prefect/openapi.d.ts:
 *
 *   npm ci && PREFECT_API_URL=http://127.0.0.1:4200/api npm run generate
 *
 * The server must be the version that the tests pin; test/integration/prefect-client-openapi.test.ts compares.
 */
import { writeFile } from 'node:fs/promises'
import { env } from 'node:process'

import { isObject, pruned } from './prune.ts'
import type { Json } from './prune.ts'

const apiUrl = env['PREFECT_API_URL']
if (apiUrl === undefined) throw new Error('PREFECT_API_URL must name a running server of the pinned version')

const response = await fetch(`${apiUrl.replace(/\/$/, '')}/openapi.json`)
const document: Json = JSON.parse(await response.text())
if (!isObject(document)) throw new TypeError(`${apiUrl}/openapi.json is no OpenAPI document`)

await writeFile(new URL('prefect.json', import.meta.url), JSON.stringify(pruned(document), undefined, 2))
