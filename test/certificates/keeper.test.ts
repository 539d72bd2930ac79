import { X509Certificate } from 'node:crypto'
import { setImmediate, setTimeout } from 'node:timers/promises'
import t from 'tap'
import { createCertificateKeeper } from '../../src/certificates/keeper.ts'
import type { Lifetimes } from '../../src/certificates/lifetimes.ts'
import { apiOf, certificatesIn, replicaOf } from './api-of.ts'

const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const start = Date.UTC(2026, 0, 1)
const { signal } = new AbortController()

/** A replica, its API and its clock. */
function replica(
  { api, state } = apiOf(),
  clock = { now: new Date(start) },
  lifetimes: Partial<Lifetimes> = {},
) {
  const { deps, ...seen } = replicaOf(api, clock)
  const keeper = createCertificateKeeper({ ...deps, lifetimes })
  return { api, state, clock, keeper, ...seen }
}

type Replica = ReturnType<typeof replica>

const bundlesOf = ({ state }: Pick<Replica, 'state'>): (string | undefined)[] =>
  Object.values(state.configurations).flatMap(({ webhooks }) =>
    webhooks.map(({ clientConfig }) => clientConfig.caBundle),
  )

const isSignedBy = (leaf: string, authority: string | undefined): boolean =>
  authority !== undefined && new X509Certificate(leaf).verify(new X509Certificate(authority).publicKey)

const authorityIn = ({ state }: Pick<Replica, 'state'>, key = 'ca.crt'): string | undefined => {
  const value = state.secret?.data[key]
  return value === undefined ? undefined : Buffer.from(value, 'base64').toString().trim()
}

function overwrite({ state }: Replica, caBundle: string): void {
  const [entry] = state.configurations.MutatingWebhookConfiguration?.webhooks ?? []
  if (entry) entry.clientConfig.caBundle = caBundle
}

t.test('the first replica makes an authority, has it trusted, and signs its leaf', async t => {
  const first = replica()
  t.equal(first.keeper.hasValidLeaf(), false)
  t.equal(first.keeper.isRegistered(), false)
  const order: string[] = []
  first.state.before = verb => void order.push(verb)
  const stop = new AbortController()
  const leaf = await first.keeper.start(stop.signal)
  stop.abort()
  t.strictSame(order.slice(0, 2), ['readSecret', 'createSecret'])
  t.ok(isSignedBy(leaf.cert, authorityIn(first)))
  for (const bundle of bundlesOf(first)) t.strictSame(certificatesIn(bundle), [authorityIn(first)])
  t.equal(first.keeper.hasValidLeaf(), true)
  t.equal(first.keeper.isRegistered(), true)
  t.strictSame(first.shown, [], 'the first leaf is returned, not announced')
})

t.test('the second replica takes the authority of the first, whoever was faster', async t => {
  const first = replica()
  const second = replica(first)
  // Both look before either has written.
  await Promise.all([first.keeper.check(signal), second.keeper.check(signal)])
  t.equal(new Set(bundlesOf(first)).size, 1)
  t.equal(certificatesIn(bundlesOf(first)[0]).length, 1)
  t.ok(first.keeper.hasValidLeaf() && second.keeper.hasValidLeaf())
})

t.test('a leaf is renewed with a third of its life left, and announced', async t => {
  const first = replica()
  await first.keeper.check(signal)
  first.clock.now = new Date(start + 4 * DAY)
  await first.keeper.check(signal)
  t.equal(first.shown.length, 0)
  first.clock.now = new Date(start + 5 * DAY)
  await first.keeper.check(signal)
  t.equal(first.shown.length, 1)
})

t.test('a machine that slept over everything wakes with new certificates at its next look', async t => {
  const first = replica()
  await first.keeper.check(signal)
  first.clock.now = new Date(start + 800 * DAY)
  t.equal(first.keeper.hasValidLeaf(), false, 'and is not ready before')
  await first.keeper.check(signal)
  t.equal(first.keeper.hasValidLeaf(), true)
  t.ok(isSignedBy(first.shown.at(-1)?.cert ?? '', authorityIn(first)))
})

t.test(
  'a new authority signs nothing before every configuration has held it for the propagation time',
  async t => {
    const first = replica()
    await first.keeper.check(signal)
    const old = authorityIn(first)
    first.clock.now = new Date(start + 250 * DAY)
    await first.keeper.check(signal)
    const next = authorityIn(first, 'next.crt')
    t.ok(next)
    t.equal(authorityIn(first), old)
    for (const bundle of bundlesOf(first)) t.strictSame(certificatesIn(bundle), [old, next])

    first.clock.now = new Date(start + 250 * DAY + MINUTE / 2)
    await first.keeper.check(signal)
    t.equal(authorityIn(first), old, 'too early')

    // Somebody takes it out again: the time starts anew.
    overwrite(first, '')
    first.clock.now = new Date(start + 250 * DAY + MINUTE)
    first.state.before = verb => {
      if (verb === 'patchCaBundle') throw new Error('forbidden')
    }
    await first.keeper.check(signal)
    first.state.before = () => undefined
    first.clock.now = new Date(start + 250 * DAY + 2 * MINUTE)
    await first.keeper.check(signal)
    t.equal(authorityIn(first), old, 'not seen for long enough')

    first.clock.now = new Date(start + 250 * DAY + 3 * MINUTE)
    await first.keeper.check(signal)
    t.equal(authorityIn(first), next, 'now it signs')
    t.equal(authorityIn(first, 'next.crt'), undefined)
    t.ok(isSignedBy(first.shown.at(-1)?.cert ?? '', next))
    for (const bundle of bundlesOf(first)) t.strictSame(certificatesIn(bundle), [next, old])
  },
)

t.test('a caBundle somebody overwrote is put right, in our own entries only', async t => {
  const first = replica()
  const foreign = {
    name: 'theirs',
    clientConfig: { caBundle: 'dGhlaXJz', service: { namespace: 'other', name: 'other' } },
  }
  const byUrl = { name: 'dev', clientConfig: { caBundle: 'ZGV2', url: 'https://192.0.2.1/mutate' } }
  first.state.configurations.MutatingWebhookConfiguration?.webhooks.push(foreign, byUrl)
  await first.keeper.check(signal)
  const before = bundlesOf(first)
  overwrite(first, 'c3RhbGU=')
  await first.keeper.check(signal)
  t.strictSame(bundlesOf(first), before)
  t.equal(foreign.clientConfig.caBundle, 'dGhlaXJz')
  t.equal(byUrl.clientConfig.caBundle, 'ZGV2')
  t.match(
    await first.registry.metrics(),
    'lifeguard_ca_bundle_writes_total{configuration="MutatingWebhookConfiguration"} 2',
  )
})

t.test('where cert-manager writes the caBundle, nobody else does', async t => {
  const first = replica()
  const configuration = first.state.configurations.MutatingWebhookConfiguration
  if (configuration)
    configuration.metadata.annotations = { 'cert-manager.io/inject-ca-from': 'prefect-lifeguard/ca' }
  await first.keeper.check(signal)
  t.strictSame(bundlesOf(first).slice(0, 2), [undefined, undefined])
  t.equal(first.keeper.isRegistered(), false)
})

t.test(
  'without a validating configuration all is well; without the mutating one nothing is registered',
  async t => {
    const first = replica()
    delete first.state.configurations.ValidatingWebhookConfiguration
    await first.keeper.check(signal)
    t.equal(first.keeper.isRegistered(), true)
    delete first.state.configurations.MutatingWebhookConfiguration
    await first.keeper.check(signal)
    t.equal(first.keeper.isRegistered(), false)
    t.equal(first.keeper.hasValidLeaf(), true)
  },
)

t.test('a look that is under way makes nobody unready', async t => {
  const first = replica()
  await first.keeper.check(signal)
  const states: boolean[] = []
  first.state.before = () => void states.push(first.keeper.isRegistered() && first.keeper.hasValidLeaf())
  await first.keeper.check(signal)
  t.strictSame(states, [true, true, true])
})

t.test('a configuration that changes under our hands is written at the next look', async t => {
  const first = replica()
  first.state.before = verb => {
    const configuration = first.state.configurations.MutatingWebhookConfiguration
    if (verb === 'patchCaBundle' && configuration) configuration.metadata.resourceVersion += '0'
  }
  await first.keeper.check(signal)
  t.equal(first.keeper.isRegistered(), false)
  first.state.before = () => undefined
  await first.keeper.check(signal)
  t.equal(first.keeper.isRegistered(), true)
})

const losses: Record<string, (state: Replica['state']) => void> = {
  deleted: state => void (state.secret = undefined),
  emptied: state => void (state.secret = state.secret && { ...state.secret, data: {} }),
  'given half a key': state =>
    void (state.secret = state.secret && withKey(state.secret, 'LS0tLS1CRUdJTiBQ')),
}

function withKey(secret: NonNullable<Replica['state']['secret']>, key: string) {
  return { ...secret, data: { ...secret.data, 'ca.key': key } }
}

for (const [name, lose] of Object.entries(losses)) {
  t.test(`a Secret that was ${name} is restored by a replica that knows it`, async t => {
    const first = replica()
    await first.keeper.check(signal)
    const before = first.state.secret?.data
    const bundles = bundlesOf(first)
    lose(first.state)
    await first.keeper.check(signal)
    t.strictSame(first.state.secret?.data, before)
    t.strictSame(bundlesOf(first), bundles)
    t.strictSame(first.shown, [], 'the leaf is still good')
  })
}

t.test('labels and annotations others put on the Secret stay', async t => {
  const first = replica()
  await first.keeper.check(signal)
  const { secret } = first.state
  if (secret)
    first.state.secret = {
      ...secret,
      metadata: { ...secret.metadata, annotations: { 'example.com/owner': 'jane' } },
    }
  first.clock.now = new Date(start + 250 * DAY)
  await first.keeper.check(signal)
  t.match(first.state.secret?.metadata, { annotations: { 'example.com/owner': 'jane' } })
})

t.test('with the API away, leaves go on being signed by the authority last agreed on', async t => {
  const first = replica()
  await first.keeper.check(signal)
  first.state.before = () => {
    throw new Error('connect ECONNREFUSED')
  }
  first.clock.now = new Date(start + 6 * DAY)
  await first.keeper.check(signal)
  t.equal(first.shown.length, 1)
  t.equal(first.keeper.isRegistered(), true, 'as far as anybody knows')
  t.match(await first.registry.metrics(), 'lifeguard_certificate_check_failures_total{step="authority"} 1')
  t.match(
    first.lines.find(line => line['level'] === 50),
    { err: { message: 'connect ECONNREFUSED' } },
  )
})

t.test('a Secret that others keep changing is given up on, for this time', async t => {
  const first = replica()
  await first.keeper.check(signal)
  first.clock.now = new Date(start + 250 * DAY)
  let writes = 0
  first.state.before = verb => {
    const { secret } = first.state
    if (verb !== 'updateSecret' || !secret) return
    writes += 1
    first.state.secret = { ...secret, metadata: { ...secret.metadata, resourceVersion: `other-${writes}` } }
  }
  await first.keeper.check(signal)
  t.equal(writes, 5)
  t.match(first.lines.at(-1) && JSON.stringify(first.lines), /changed by others 5 times in a row/)
})

t.test('what the API should never answer is an error that says so', async t => {
  const first = replica()
  await replica({ ...first, api: { ...first.api, readSecret: async () => 'nonsense' } }).keeper.check(signal)
  const second = replica({ ...first, api: { ...first.api, readWebhookConfiguration: async () => ({}) } })
  await second.keeper.check(signal)
  t.match(JSON.stringify(second.lines), 'webhook configuration is not what the API describes')
})

const expiry = (certificate: string) =>
  `lifeguard_certificate_expiry_timestamp_seconds{certificate="${certificate}"}`

t.test('expiry is exported', async t => {
  const first = replica()
  await first.keeper.check(signal)
  const text = await first.registry.metrics()
  t.match(text, `${expiry('leaf')} ${(start + 7 * DAY) / 1000}`)
  t.match(text, `${expiry('authority')} ${(start + 365 * DAY) / 1000}`)
  t.notMatch(text, expiry('next_authority'))
})

t.test('start goes on looking until it is told to stop', async t => {
  const first = replica(apiOf(), { now: new Date(start) }, { tickMs: 1 })
  const thrice = Promise.withResolvers<void>()
  let looks = 0
  first.state.before = verb => {
    if (verb === 'readSecret') looks += 1
    if (looks === 3) thrice.resolve()
  }
  const stop = new AbortController()
  await first.keeper.start(stop.signal)
  await thrice.promise
  stop.abort()
  await setImmediate()
  const stopped = looks
  await setTimeout(20)
  t.equal(looks, stopped)
})

t.test('start waits for the API to come back, and stops when told to', async t => {
  const first = replica()
  let failures = 0
  first.state.before = verb => {
    if (verb !== 'readSecret') return
    failures += 1
    if (failures === 1) throw new Error('connect ECONNREFUSED')
  }
  const stop = new AbortController()
  await t.resolves(first.keeper.start(stop.signal))
  stop.abort()

  const never = replica()
  never.state.before = () => {
    throw new Error('connect ECONNREFUSED')
  }
  const given = new AbortController()
  const starting = never.keeper.start(given.signal)
  await setImmediate()
  given.abort()
  await t.rejects(starting)
})

const HOUR = 60 * MINUTE

t.test(
  'three replicas over half a year: no leaf is ever shown that some apiserver does not trust yet',
  async t => {
    const lifetimes = { authorityMs: 60 * DAY, leafMs: 10 * DAY, propagationMs: 8 * HOUR }
    const shared = apiOf()
    const clock = { now: new Date(start) }
    const replicas = [1, 2, 3].map(() => replica(shared, clock, lifetimes))
    const authorities = new Set<string | undefined>()
    const untrusted: string[] = []
    for (let now = start; now < start + 200 * DAY; now += 8 * HOUR) {
      // An apiserver that is a whole look behind believes this, and meets whatever leaf is shown after the next.
      const believed = bundlesOf(shared).map(certificatesIn)
      clock.now = new Date(now)
      for (const one of replicas.filter((_, index) => isPresent(now, index))) await one.keeper.check(signal)
      const shown = replicas.filter(one => one.keeper.hasValidLeaf()).flatMap(one => one.shown.slice(-1))
      const isTrusted = (cert: string) =>
        believed.every(bundle => bundle.some(authority => isSignedBy(cert, authority)))
      untrusted.push(...shown.filter(({ cert }) => !isTrusted(cert)).map(() => clock.now.toISOString()))
      authorities.add(authorityIn(shared))
    }
    t.strictSame(untrusted, [])
    t.ok(
      replicas.every(({ shown }) => shown.length > 15),
      'all of them renewed their leaves',
    )
    t.ok(authorities.size >= 5, `${authorities.size} authorities came and went`)
  },
)

/** Each starts somewhat later than the one before, and is away every tenth time. */
const isPresent = (now: number, index: number): boolean =>
  now >= start + index * 3 * DAY && (now / HOUR + index * 8) % 80 !== 0
