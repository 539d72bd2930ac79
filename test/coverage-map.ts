import { globSync } from 'node:fs'

const CORE = globSync('src/core/**/*.ts')

/**
 * Which files a test has to cover in full: the pure core by its own tests. Everything else is shown on real parts in
 * processes of their own, where a figure would only say what was started.
 */
// oxlint-disable-next-line import/no-default-export -- tap wants it so
export default (test: string): readonly string[] | null => (test.startsWith('test/core/') ? CORE : null)
