import jsonPatch from 'fast-json-patch'
import t from 'tap'
import { createCanary } from '../../src/admission/canary.ts'
import { answerTo, reviewOf, serverOf, unasked } from './server-of.ts'

const { signal } = new AbortController()
const namespace = 'prefect-lifeguard'

/** What the API server does with our webhook, without the API server; test/integration/admission.test.ts has it. */
async function admitted(lease: object): Promise<object> {
  const { server } = serverOf({ parentOf: unasked })
  const { patch } = await answerTo(server, '/mutate', reviewOf(lease, { dryRun: true }))
  return jsonPatch.applyPatch(lease, patch).newDocument
}

t.test('a canary that went through our webhook is content', async t => {
  await t.resolves(createCanary({ dryRunCreate: admitted, namespace, nonce: () => 'a1' })(signal))
})

const troubles: Record<string, { dryRunCreate: (lease: object) => Promise<unknown>; message: RegExp }> = {
  'the webhook was not called': { dryRunCreate: async lease => lease, message: /did not call our webhook/ },
  'the answer is to another question': {
    dryRunCreate: async () => ({ metadata: { annotations: { 'prefect-lifeguard.dev/canary': 'old' } } }),
    message: /did not call our webhook/,
  },
  'the API is away': {
    dryRunCreate: () => Promise.reject(new Error('connect ECONNREFUSED')),
    message: /ECONNREFUSED/,
  },
  'the API answers nonsense': { dryRunCreate: async () => 'nonsense', message: /expected object/ },
}

for (const [name, { dryRunCreate, message }] of Object.entries(troubles)) {
  t.test(`a canary tells that ${name}`, async t => {
    await t.rejects(createCanary({ dryRunCreate, namespace, nonce: () => 'a1' })(signal), { message })
  })
}
