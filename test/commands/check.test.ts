import t from 'tap'
import { codeOfFindings, findingsAsJson, findingsInWords } from '../../src/commands/check/check.ts'
import { checkClocks } from '../../src/commands/check/clocks.ts'
import { versionFinding } from '../../src/commands/check/prefect.ts'
import { bundleFinding, registeredFinding } from '../../src/commands/check/webhooks.ts'
import { ok, skipped, warning, wrong } from '../../src/commands/check/finding.ts'
import { createAuthority } from '../../src/certificates/authority.ts'
import { caBundleOf } from '../../src/certificates/ca-bundle.ts'

/** What an API server or Prefect would have to be for this is tested here; the rest in test/integration/command-line.test.ts. */

const NOON = Date.UTC(2026, 0, 1, 12)
const SECOND = 1000
const DAY = 86_400_000

t.test('clocks', async t => {
  const cases: Readonly<Record<string, { kubernetes?: number; prefect?: number; finds: object }>> = {
    'all agree': {
      kubernetes: 0,
      prefect: -1,
      finds: { health: 'ok', detail: 'Kubernetes as here, Prefect as here' },
    },
    'apart, within what is allowed': { kubernetes: 3, prefect: -3, finds: { health: 'ok' } },
    'apart from each other': {
      kubernetes: -4,
      prefect: 4,
      finds: { health: 'error', detail: /^Kubernetes 4s behind, Prefect 4s ahead: 8s apart/ },
    },
    'this machine alone is wrong': {
      kubernetes: 600,
      prefect: 601,
      finds: { health: 'warning', detail: /^Kubernetes 10m ahead/ },
    },
    'one is not told': { kubernetes: 0, finds: { health: 'skipped' } },
  }
  for (const [sentence, { kubernetes, prefect, finds }] of Object.entries(cases)) {
    const at = (offset?: number) => (offset === undefined ? undefined : NOON + offset * SECOND)
    const clocks = {
      kubernetes: at(kubernetes),
      prefect: at(prefect),
      here: { kubernetes: NOON, prefect: NOON },
    }
    t.match(checkClocks(clocks, 5 * SECOND), finds, sentence)
  }
})

t.test('versions of Prefect', async t => {
  const cases = {
    '3.8.8': 'ok',
    '3.8.12': 'ok',
    '3.7.1': 'warning',
    '3.9.0': 'warning',
    '2.20.1': 'error',
    '4.0.0': 'error',
  }
  for (const [version, health] of Object.entries(cases))
    t.equal(versionFinding(version).health, health, version)
})

const KIND = 'MutatingWebhookConfiguration'
const SERVICE = { namespace: 'prefect-lifeguard', name: 'prefect-lifeguard' }

interface Webhook {
  readonly name: string
  readonly caBundle?: string
  readonly service?: typeof SERVICE
}

const registration = (...webhooks: readonly Webhook[]) => ({
  metadata: { annotations: {} },
  webhooks: webhooks.map(({ name, caBundle = '', service = SERVICE }) => ({
    name,
    clientConfig: { caBundle, service },
  })),
})

t.test('webhooks are there and call our Service', async t => {
  const config = { namespace: 'prefect-lifeguard', service: 'prefect-lifeguard' }
  const look = (webhooks: readonly Webhook[]) =>
    registeredFinding(KIND, { registration: registration(...webhooks), wanted: ['a', 'b'], config })
  t.match(look([{ name: 'a' }, { name: 'b' }]), { health: 'ok' })
  t.match(look([{ name: 'b' }]), { health: 'error', detail: 'lacks a' })
  t.match(look([{ name: 'a' }, { name: 'b', service: { namespace: 'x', name: 'prefect-lifeguard' } }]), {
    health: 'error',
    detail: /^b: calls something else/,
  })
})

t.test('a caBundle holds a certificate that is good, and of the authority that signs', async t => {
  const authority = (from: number, to: number) =>
    createAuthority({ notBefore: new Date(NOON + from), notAfter: new Date(NOON + to) })
  const [over, good, late, other] = await Promise.all([
    authority(-2 * DAY, -DAY),
    authority(-DAY, 90 * DAY),
    authority(-90 * DAY, DAY),
    authority(-DAY, 90 * DAY),
  ])
  const cases: Readonly<Record<string, { bundle: string; authority?: string; finds: object }>> = {
    good: {
      bundle: caBundleOf([good.cert]),
      authority: good.cert,
      finds: { health: 'ok', detail: 'good until 2026-04-01T12:00:00.000Z' },
    },
    'a former one beside a good one': { bundle: caBundleOf([over.cert, good.cert]), finds: { health: 'ok' } },
    'of somebody else': {
      bundle: caBundleOf([other.cert]),
      authority: good.cert,
      finds: { health: 'error', detail: /does not hold the authority/ },
    },
    over: { bundle: caBundleOf([over.cert]), finds: { health: 'error', detail: /good today/ } },
    'not renewed': { bundle: caBundleOf([late.cert]), finds: { health: 'warning' } },
    empty: { bundle: '', finds: { health: 'error', detail: /is empty/ } },
    nonsense: {
      bundle: Buffer.from('-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----').toString('base64'),
      finds: { health: 'error' },
    },
  }
  for (const [sentence, { bundle, authority: signs, finds }] of Object.entries(cases))
    t.match(
      bundleFinding(KIND, {
        registration: registration({ name: 'a', caBundle: bundle }),
        authority: signs,
        now: new Date(NOON),
      }),
      finds,
      sentence,
    )
  t.match(bundleFinding(KIND, { registration: registration(), authority: undefined, now: new Date(NOON) }), {
    health: 'skipped',
  })
})

t.test('findings are told, and an error is what counts', async t => {
  const targets = { context: 'c', cluster: 'https://k', prefect: 'http://p/api' }
  const findings = [ok('one', 'fine'), warning('two', 'hm', 'look at it'), skipped('three', 'not seen')]
  t.equal(
    findingsInWords(findings, targets),
    'Cluster https://k (context c), Prefect http://p/api\n         CHECK  FOUND\nok       one    fine\nwarning  two    hm\nskipped  three  not seen\n\nWhat to do\ntwo: look at it.\n',
  )
  t.match(findingsAsJson(findings, targets), { isWell: true, targets, findings })
  t.equal(codeOfFindings(findings), 0)
  t.equal(codeOfFindings([...findings, wrong('four', 'bad', 'mend it')]), 1)
})
