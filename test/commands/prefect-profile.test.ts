import { join } from 'node:path'
import t from 'tap'
import type { Test } from 'tap'
import { withPrefectProfile } from '../../src/commands/prefect-profile.ts'

const SECRET = 'pnu_secret'

const PROFILES = `
active = "work"

[profiles.work]
PREFECT_API_URL = "https://api.prefect.cloud/api/accounts/a/workspaces/w"
PREFECT_API_KEY = "${SECRET}"
PREFECT_API_TLS_INSECURE_SKIP_VERIFY = true

[profiles.local]
PREFECT_API_URL = "http://127.0.0.1:4200/api"
`

/** What is read with these variables and this `profiles.toml`. */
const read = (t: Test, env: Readonly<Record<string, string>>, profiles = PROFILES) =>
  withPrefectProfile({ PREFECT_HOME: t.testdir({ 'profiles.toml': profiles }), ...env })

t.test('the active profile says where Prefect is, and variables win over it', async t => {
  t.match(await read(t, {}), {
    PREFECT_API_URL: 'https://api.prefect.cloud/api/accounts/a/workspaces/w',
    PREFECT_API_KEY: SECRET,
    PREFECT_API_TLS_INSECURE_SKIP_VERIFY: 'true',
  })
  t.match(await read(t, { PREFECT_PROFILE: 'local' }), {
    PREFECT_API_URL: 'http://127.0.0.1:4200/api',
    PREFECT_API_KEY: undefined,
  })
  t.match(await read(t, { PREFECT_API_URL: 'http://other/api', PREFECT_API_KEY: '' }), {
    PREFECT_API_URL: 'http://other/api',
    PREFECT_API_KEY: SECRET,
  })
})

t.test('the file is where Prefect looks for it', async t => {
  const home = t.testdir({ '.prefect': { 'profiles.toml': PROFILES }, 'elsewhere.toml': PROFILES })
  const found = { PREFECT_API_URL: /^https:\/\/api\.prefect\.cloud/ }
  t.match(await withPrefectProfile({ HOME: home }), found)
  t.match(await withPrefectProfile({ PREFECT_PROFILES_PATH: join(home, 'elsewhere.toml') }), found)
})

t.test('without a file, or an active profile in it, the environment is as it is', async t => {
  const env = { PREFECT_HOME: join(t.testdir({}), 'nothing'), PREFECT_API_URL: 'http://p/api' }
  t.same(await withPrefectProfile(env), env)
  t.match(await read(t, {}, 'active = "gone"\n'), { PREFECT_API_URL: undefined })
})

t.test('what cannot be read is told, and no key with it', async t => {
  const wrong: Readonly<Record<string, { env?: Record<string, string>; text: string; says: RegExp }>> = {
    'no TOML': { text: `PREFECT_API_KEY = ${SECRET}`, says: /profiles\.toml is no file of Prefect profiles/ },
    'something else': {
      text: `profiles = "${SECRET}"`,
      says: /profiles\.toml is no file of Prefect profiles/,
    },
    'a profile that is not there': {
      env: { PREFECT_PROFILE: 'nowhere' },
      text: PROFILES,
      says: /^PREFECT_PROFILE: .*profiles\.toml has no such profile$/,
    },
  }
  for (const [sentence, { env = {}, text, says }] of Object.entries(wrong)) {
    const error = await read(t, env, text).then(
      () => undefined,
      (error: unknown) => error,
    )
    t.match(error, { name: 'ArgumentError', message: says }, sentence)
    t.notMatch(String(error), SECRET)
  }
})
