import t from 'tap'
import { rightInWords, rightsFor } from '../../src/commands/check/granted.ts'
import { readConfig } from '../../src/config.ts'
import { rightsOf, wordsOf } from '../manifests/audit.ts'
import { parseAllDocuments } from 'yaml'
import { readFile } from 'node:fs/promises'

const rightsWith = async (env: Readonly<Record<string, string>> = {}) =>
  rightsFor(readConfig({ PREFECT_API_URL: 'http://prefect.test/api', ...env }))

const words = async (env: Readonly<Record<string, string>>) => (await rightsWith(env)).map(rightInWords)

t.test('every right of the manifests is asked about, one by one', async t => {
  const text = await readFile(new URL('../../manifests/base/rbac.yaml', import.meta.url), 'utf8')
  const granted = rightsOf(parseAllDocuments(text).map(document => document.toJS()))
  const asked = await rightsWith()
  const plain = ({ subresource, resource, ...right }: (typeof asked)[number]) =>
    wordsOf({ ...right, resource: subresource === undefined ? resource : `${resource}/${subresource}` })
  t.strictSame(asked.map(plain).toSorted(), granted.map(wordsOf).toSorted())
})

t.test('where they are asked about is where they are needed', async t => {
  const cases: Readonly<Record<string, { env: Record<string, string>; has: string[]; lacks: string[] }>> = {
    'the whole cluster': {
      env: {},
      has: [
        'list jobs.batch',
        'get pods/log',
        'get nodes',
        'get mutatingwebhookconfigurations.admissionregistration.k8s.io prefect-lifeguard',
        'get secrets prefect-lifeguard-ca in prefect-lifeguard',
      ],
      lacks: ['list jobs.batch in prefect-lifeguard', 'list nodes'],
    },
    'some namespaces': {
      env: { PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES: 'flows,more' },
      has: ['list jobs.batch in flows', 'list jobs.batch in more', 'get nodes'],
      lacks: ['list jobs.batch'],
    },
    'other names': {
      env: { LIFEGUARD_NAMESPACE: 'guards', LIFEGUARD_SERVICE: 'guard' },
      has: ['get secrets guard-ca in guards', 'update leases.coordination.k8s.io guard in guards'],
      lacks: ['get secrets prefect-lifeguard-ca in prefect-lifeguard'],
    },
    'certificates by somebody else': {
      env: { LIFEGUARD_CERTIFICATE_DIR: '/tls' },
      has: ['list jobs.batch', 'create leases.coordination.k8s.io in prefect-lifeguard'],
      lacks: ['create secrets in prefect-lifeguard'],
    },
  }
  for (const [sentence, { env, has, lacks }] of Object.entries(cases)) {
    const all = await words(env)
    for (const right of has) t.ok(all.includes(right), `${sentence}: ${right}`)
    for (const right of lacks) t.notOk(all.includes(right), `${sentence}: not ${right}`)
  }
})
