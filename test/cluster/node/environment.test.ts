import t from 'tap'
import { expand } from './environment.ts'

// The cases of kubernetes/third_party/forked/golang/expansion/expand_test.go that tell the rules apart.
t.test('$(NAME) in commands and values', async t => {
  const variables = { A: '1', B: '2', EMPTY: '' }
  const cases: Record<string, string> = {
    'x $(A) y': 'x 1 y',
    '$(A)$(B)': '12',
    '$(EMPTY)': '',
    '$(UNKNOWN)': '$(UNKNOWN)',
    '$$(A)': '$(A)',
    '$$$(A)': '$1',
    $$: '$',
    '$A and ${A}': '$A and ${A}',
    'open $(A': 'open $(A',
  }
  for (const [text, expected] of Object.entries(cases)) t.equal(expand(text, variables), expected, text)
})
