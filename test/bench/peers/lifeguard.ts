import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { createAdmissionServer } from '../../../src/admission/server.ts'
import { readConfig } from '../../../src/config.ts'
import { createLogger } from '../../../src/operations/logger.ts'
import { createPrefectClient } from '../../../src/prefect/client.ts'
import { flagsOf } from './flags.ts'

/* Ours: the admission half with everything the product puts behind it, without the observer. */

const { port, certificates, prefect: apiUrl } = flagsOf(process.argv)
const config = readConfig({
  PREFECT_API_URL: apiUrl,
  LIFEGUARD_LOG_FORMAT: 'json',
  // Every review asks about a run nobody has asked about, faster than any cluster makes Jobs.
  LIFEGUARD_PREFECT_REQUESTS_PER_MINUTE: '100000',
})
const [key, cert] = await Promise.all(
  ['tls.key', 'tls.crt'].map(name => readFile(join(certificates, name), 'utf8')),
)
if (key === undefined || cert === undefined) throw new Error(`no certificate in ${certificates}`)
const logger = createLogger(config.log)
const registry = new Registry()
const prefect = createPrefectClient({ ...config.prefect, registry, logger })
const { validation, lookupDeadline: lookupDeadlineMs, maxConcurrent } = config.admission
const server = createAdmissionServer({
  tls: { key, cert },
  parentOf: prefect.parentOf,
  validation,
  lookupDeadlineMs,
  maxConcurrent,
  logger,
  registry,
})
await server.listen({ host: '127.0.0.1', port })
