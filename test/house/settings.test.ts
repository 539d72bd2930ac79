import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { ConfigError, readConfig } from '../../src/config.ts'
import { VARIABLES } from '../../src/config/variables.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'

const ROOT = join(import.meta.dirname, '../..')

const API = { PREFECT_API_URL: 'http://prefect.test/api' }

const SECRET = 'do-not-tell'

/** Prefect's own, read by its worker or server, of which the documents speak. */
const OF_PREFECT = new Set(['PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_ENABLED'])

t.test('without settings the defaults of the rules hold, and nothing is changed', async t => {
  t.strictSame(readConfig(API).verdict, DEFAULT_SETTINGS)
  t.equal(readConfig(API).verdict.failureState, 'report')
})

t.test('an empty variable is an unset one', async t => {
  const empty = Object.fromEntries(Object.keys(VARIABLES).map(name => [name, '']))
  t.strictSame(readConfig({ ...empty, ...API }), readConfig(API))
})

t.test('a variable that is wrong is named, with all others that are, and never shown', async t => {
  const wrong = {
    ...API,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY: SECRET,
    PREFECT_CLIENT_CUSTOM_HEADERS: SECRET,
    PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_HANDLE_SUBFLOW_FAILURE_STATE: SECRET,
    LIFEGUARD_DRAIN: SECRET,
    LIFEGUARD_GRACES: `${SECRET}=1m`,
    LIFEGUARD_ADMISSION_PORT: '70000',
  }
  const message = messageOf(() => readConfig(wrong))
  for (const name of Object.keys(wrong).filter(name => !(name in API))) t.match(message, name)
  t.notMatch(message, SECRET)
})

t.test('without an API there is nothing to do', async t => {
  t.match(
    messageOf(() => readConfig({})),
    'PREFECT_API_URL is not set',
  )
})

t.test('every variable the documents and manifests name is one that is read', async t => {
  for await (const file of glob(['*.md', 'docs/**/*.md', 'manifests/**/*.{yaml,env}'], { cwd: ROOT })) {
    const text = await readFile(join(ROOT, file), 'utf8')
    const named = new Set(
      text.match(/\b(LIFEGUARD|PREFECT_(API|CLIENT|INTEGRATIONS))_[A-Z_]*[A-Z](?![A-Za-z])/g),
    )
    for (const name of named) t.ok(name in VARIABLES || OF_PREFECT.has(name), `${file}: ${name}`)
  }
})

function messageOf(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return ''
}
