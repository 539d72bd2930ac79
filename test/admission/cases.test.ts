import jsonPatch from 'fast-json-patch'
import { readdir, readFile } from 'node:fs/promises'
import t from 'tap'
import type { Test } from 'tap'
import { parseAllDocuments } from 'yaml'
import { z } from 'zod'
import type { ParentOf } from '../../src/core/parent.ts'
import { answering, answerTo, hanging, outcomesIn, refusing, reviewOf, serverOf } from './server-of.ts'

const CASES = new URL('cases/', import.meta.url)

const parentSchema = z.union([
  z.enum(['hangs', 'refuses']),
  z.strictObject({ kind: z.literal('subflow'), parentTaskRunId: z.string() }),
  z.strictObject({ kind: z.literal('topLevel') }),
  z.strictObject({ kind: z.literal('notFound') }),
])

/** What a file expects; strict, so that a misspelt expectation is an error and not one that never fails. */
const expectationSchema = z.strictObject({
  request: z.record(z.string(), z.unknown()).default({}),
  mutate: z
    .strictObject({
      parent: parentSchema.optional(),
      outcome: z.string(),
      patch: z.array(z.strictObject({ op: z.string(), path: z.string(), value: z.unknown() })).default([]),
      warnings: z.array(z.string()).default([]),
    })
    .optional(),
  validate: z
    .strictObject({
      mode: z.enum(['warn', 'enforce', 'off']),
      parent: parentSchema.optional(),
      by: z.string().optional(),
      old: z.record(z.string(), z.unknown()).optional(),
      outcome: z.string(),
      warnings: z.array(z.string()).default([]),
      denial: z.string().optional(),
    })
    .optional(),
})

type Expectation = z.infer<typeof expectationSchema>

/** `asked` tells whether Prefect was asked. */
function lookUpOf(parent: z.infer<typeof parentSchema> | undefined) {
  const asked: string[] = []
  const answer = parent === 'hangs' ? hanging : parent === 'refuses' || !parent ? refusing : answering(parent)
  const parentOf: ParentOf = (flowRunId, signal) => {
    asked.push(flowRunId)
    return answer(flowRunId, signal)
  }
  return { parentOf, asked }
}

const byPath = (a: { path: string }, b: { path: string }): number => a.path.localeCompare(b.path)

async function mutates(t: Test, object: object, { mutate, request }: Expectation) {
  if (!mutate) return
  const { parentOf, asked } = lookUpOf(mutate.parent)
  const { server, registry } = serverOf({ parentOf })
  const { response, patch } = await answerTo(server, '/mutate', reviewOf(object, request))
  t.equal(response.allowed, true, 'nothing is ever refused by mutation')
  t.strictSame(patch.toSorted(byPath), mutate.patch.toSorted(byPath), 'patch, in any order')
  t.strictSame(response.warnings ?? [], mutate.warnings, 'warnings')
  t.strictSame(await outcomesIn(registry), { [mutate.outcome]: 1 }, 'outcome, counted')
  t.equal(asked.length, mutate.parent ? 1 : 0, 'Prefect is asked exactly where it has to be')

  const patched = jsonPatch.applyPatch(structuredClone(object), patch, true).newDocument
  const second = await answerTo(server, '/mutate', reviewOf(patched, request))
  t.strictSame(second.patch, [], 'the second pass finds nothing to do')
}

async function validates(t: Test, object: object, { validate, request }: Expectation) {
  if (!validate) return
  const { mode, old, by, parent } = validate
  const { parentOf, asked } = lookUpOf(parent)
  const { server, registry } = serverOf({ parentOf, validation: mode })
  const update = old && { operation: 'UPDATE', oldObject: { ...object, metadata: old } }
  const user = by === undefined ? {} : { userInfo: { username: by } }
  const review = reviewOf(object, { ...update, ...user, ...request })
  const { response } = await answerTo(server, '/validate', review)
  t.equal(response.status?.message, validate.denial, 'denial')
  t.equal(response.allowed, validate.denial === undefined, 'verdict')
  t.strictSame(response.warnings ?? [], validate.warnings, 'warnings')
  t.strictSame(await outcomesIn(registry), { [validate.outcome]: 1 }, 'outcome, counted')
  t.equal(asked.length, parent ? 1 : 0, 'Prefect is asked exactly where it has to be')
}

const files = (await readdir(CASES)).filter(file => file.endsWith('.yaml'))

for (const file of files) {
  t.test(file.replace('.yaml', '').replaceAll('-', ' '), async t => {
    const documents = parseAllDocuments(await readFile(new URL(file, CASES), 'utf8'))
    const [object, expected] = documents.map(document => document.toJS() as object)
    if (!object || !expected) throw new Error(`${file}: an object and what is expected of it, see README.md`)
    const expectation = expectationSchema.parse(expected)
    t.ok(expectation.mutate ?? expectation.validate, 'the case expects something')
    await mutates(t, object, expectation)
    await validates(t, object, expectation)
  })
}

t.test('every outcome has its case', async t => {
  const texts = await Promise.all(files.map(file => readFile(new URL(file, CASES), 'utf8')))
  const seen = new Set(texts.flatMap(text => [...text.matchAll(/outcome: (\w+)/g)].map(match => match[1])))
  // The two that are not about the object: test/admission/server.test.ts.
  const elsewhere = new Set(['overloaded', 'error'])
  const source = await readFile(new URL('../../src/admission/decision.ts', import.meta.url), 'utf8')
  const outcomes = [...source.matchAll(/^ {2}\| '(\w+)'/gm)].map(match => match[1] ?? '')
  t.ok(outcomes.length > 10, 'the list was found')
  t.strictSame(
    outcomes.filter(outcome => !seen.has(outcome) && !elsewhere.has(outcome)),
    [],
  )
})
