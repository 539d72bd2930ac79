import t from 'tap'
import { isUuid } from '../../src/core/names.ts'
import { DEFAULT_SETTINGS } from '../../src/core/settings.ts'

t.test('a UUID as Prefect writes them', async t => {
  const values: Readonly<Record<string, readonly [unknown, boolean]>> = {
    'a UUID': ['7f2b1a52-58a0-4c59-9a34-6a3cbd1f0a11', true],
    'upper case': ['7F2B1A52-58A0-4C59-9A34-6A3CBD1F0A11', false],
    'without hyphens': ['7f2b1a5258a04c599a346a3cbd1f0a11', false],
    'with something before it': ['x7f2b1a52-58a0-4c59-9a34-6a3cbd1f0a11', false],
    'with a line break after it': ['7f2b1a52-58a0-4c59-9a34-6a3cbd1f0a11\n', false],
    nothing: ['', false],
    'no text': [undefined, false],
  }
  for (const [sentence, [value, expected]] of Object.entries(values))
    t.equal(isUuid(value), expected, sentence)
})

t.test('out of the box nothing is changed, and absence proves nothing', async t => {
  t.equal(DEFAULT_SETTINGS.failureState, 'report')
  t.equal(DEFAULT_SETTINGS.stuckStart, 'report')
  t.strictSame(DEFAULT_SETTINGS.workPools, [])
  t.ok(DEFAULT_SETTINGS.honourRetries)
})
