import { readFile, writeFile } from 'node:fs/promises'
import { README, withSections } from './readme.ts'

/** `npm run docs`: writes the README's tables as the code has them now. */
await writeFile(README, withSections(await readFile(README, 'utf8')))
